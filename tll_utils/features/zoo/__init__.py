"""Networks that `keras.applications` leaves out, or leaves without names to tap."""
