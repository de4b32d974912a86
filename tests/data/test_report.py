"""Inspecting a data set."""

from tll_utils import data

# Report --------------------------------------------------------------------------------------


def test_inspect_counts_what_is_there(course, picture, with_bars):
    picture(500).convert("L").save(course / "train/left/a00.jpg")
    picture(501, size=(31, 20)).save(course / "test/right/nan0.jpg")
    (course / "test/left/q0.jpg").write_bytes((course / "train/left/a05.jpg").read_bytes())
    with_bars(picture(1)).save(course / "train/right/b07.jpg")  # a01 is picture 1
    report = data.inspect(data.load(course))
    assert report.unreadable == ()
    assert report.counts["images"] == 2 * 24 + 2 * 6
    assert report.sizes == {(50, 61): 58, (31, 20): 1, (50, 121): 1}
    assert report.modes == {"RGB": 59, "L": 1}
    assert report.num_converted == 1
    assert [[p.stem for p in group] for group in report.exact_duplicates] == [["a05", "q0"]]
    near = {tuple(path.stem for path in group) for group in report.near_duplicates}
    assert near == {("a05", "q0"), ("a01", "b07")}
    assert "50×61: 58" in str(report)
    assert "1 group of 2 images" in str(report) and "2 groups of 4 images" in str(report)


def test_inspect_names_all_unreadable_images(course):
    (course / "train/left/a04.jpg").write_bytes(b"")
    broken = course / "test/right/nan3.jpg"
    broken.write_bytes(broken.read_bytes()[:700])
    report = data.inspect(data.load(course))
    assert len(report.unreadable) == 2
    assert all(problem in str(report) for problem in report.unreadable)
    assert "a04.jpg: an empty file" in report.unreadable[0]
    assert "nan3.jpg: a damaged image" in report.unreadable[1]
