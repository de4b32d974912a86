"""What people do with a finished run: look at it, play against it, search with it, take it along.

Nothing else of the package imports this folder, but for the command line and the names `tll.Index`
and `tll.Embedder`. Keras is loaded when an image has to be embedded, not before.
"""
