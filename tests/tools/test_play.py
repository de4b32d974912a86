"""The game and its server: answers kept, counted as scores are, and no door for anybody else."""

import errno
import http.client
import json
import os
import shutil
import threading

import numpy as np
import pytest

from tll_utils import data, scoring
from tll_utils.errors import DataError, TllError
from tll_utils.scoring import submission
from tll_utils.tools import pairs, play

QUERIES = ["a", "b", "c"]


def test_answers_are_written_and_read_as_submissions(tmp_path):
    picks = {2: (3, 0), 0: (1, 2)}
    play.write_answers(tmp_path / "Ada.csv", picks, QUERIES, 4)
    assert (tmp_path / "Ada.csv").read_text() == "left,c0,c1,c2,c3\na,0,2,1,0\nc,1,0,0,2\n"
    assert play.read_people(tmp_path, QUERIES, 4) == {"Ada": picks}
    lists = data.read_table(tmp_path / "Ada.csv").frame()
    assert submission.read(tmp_path / "Ada.csv", lists).shape == (2, 4)


@pytest.mark.parametrize("row", ["d,0,2,1,0", "a,0,2,2,0", "a,0,nan,1,2"])
def test_answers_that_are_none_are_refused_by_row(tmp_path, row):
    (tmp_path / "a.csv").write_text(f"left,c0,c1,c2,c3\n{row}\n")
    with pytest.raises(DataError, match="row 2"):
        play.read_answers(tmp_path / "a.csv", QUERIES, 4)


def test_people_are_counted_as_systems_are():
    people = {"Ada": {0: (1, 2), 1: (0, 3)}, "Bob": {0: (2, 1), 1: (2, 3)}}
    truth = np.array([1, 3, 0])
    ada, bob = (play.scores_of(picks, 3, 4) for picks in people.values())
    both = play.pooled(people, 3, 4)
    np.testing.assert_array_equal(both[0], [0, 1.5, 1.5, 0])
    assert np.isnan(both[2]).all()
    machine = np.tile([0.0, 1, 2, 3], (3, 1))
    table = play.table({"Ada": ada, "Bob": bob, "both": both, "machine": machine}, truth)
    assert table["n"].tolist() == [2] * 4  # the rows that all have
    # Ada and Bob each found both; together they are at three of a height in row 1, and a tie
    # counts against; the machine misses place 1 of row 0.
    assert table["top-2"].to_dict() == {"Ada": 1, "Bob": 1, "both": 0.5, "machine": 0.5}
    low, high = scoring.wilson_interval(np.array([True, False]))
    assert table.loc["machine", "95 %"] == f"{low:.3f}–{high:.3f}"
    assert play.table({"nobody": np.full((3, 4), np.nan)}, truth).empty


@pytest.fixture
def server(out_dir, dataset):
    server = play.serve(out_dir, dataset)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def ask(server, method, path, body=None, **headers):
    host, port = server.server_address
    connection = http.client.HTTPConnection(host, port, timeout=10)
    given = {"Host": f"127.0.0.1:{port}"}
    if method == "POST":
        given |= {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    text = json.dumps(body) if not isinstance(body, bytes | None) else body
    connection.request(method, path, text, {k: v for k, v in given.items() if v is not None})
    reply = connection.getresponse()
    return reply.status, reply.read().decode("utf-8", "replace")


def test_server_gives_the_page_and_its_pictures_only(server, out_dir):
    assert server.server_address[0] == "127.0.0.1"
    start = f"/{server.token}/"
    status, page = ask(server, "GET", start)
    assert status == 200 and '"mode":"play"' in page
    name = next((out_dir / "report_pictures").glob("*.jpg")).name
    assert ask(server, "GET", f"{start}report_pictures/{name}")[0] == 200
    for path in ("results.json", "report_pictures/../results.json", "report_pictures/%2e%2e/x.jpg"):
        assert ask(server, "GET", start + path)[0] == 404


def test_server_refuses_other_hosts_origins_and_tokens(server):
    start, answer = f"/{server.token}/", {"name": "Ada", "row": 0, "picks": [0, 1]}
    assert ask(server, "GET", "/")[0] == 403
    assert ask(server, "GET", f"/{'x' * len(server.token)}/")[0] == 403
    assert ask(server, "GET", start, Host="evil.example")[0] == 403
    for origin in ("http://evil.example", "null", None, server.url.split("/")[2]):
        assert ask(server, "POST", start + "answers", answer, Origin=origin)[0] == 403
    assert ask(server, "POST", "/wrong/answers", answer)[0] == 403
    simple = ask(server, "POST", start + "answers", answer, Content_Type="text/plain")
    assert simple[0] == 400
    assert ask(server, "POST", start + "answers", b"[" * 20_000)[0] == 400
    assert ask(server, "POST", start + "answers", b"[" * 9_000)[0] == 400


def test_server_keeps_answers_one_by_one_and_refuses_nonsense(server, out_dir, dataset):
    path = f"/{server.token}/answers"
    assert ask(server, "POST", path, {"name": "Ada", "row": 3, "picks": [5, 0]})[0] == 200
    left = dataset.pairs["left"][3]
    lines = (out_dir / "answers" / "Ada.csv").read_text().splitlines()
    assert lines[1] == f"{left},1,0,0,0,0,2,0,0,0,0,0,0"
    for wrong in (
        {"name": "../Ada", "row": 0, "picks": [0, 1]},
        {"name": "Ada", "row": 99, "picks": [0, 1]},
        {"name": "Ada", "row": 0, "picks": [0, 0]},
        {"name": "Ada", "row": 0, "picks": [0, 12]},
        {"name": "Ada", "row": 0, "picks": [0, True]},
        {"name": "Ada", "row": 0.5, "picks": "ab"},
        {"row": 0},
        [1],
    ):
        assert ask(server, "POST", path, wrong)[0] in (400, 409)
    assert (out_dir / "answers" / "Ada.csv").read_text().splitlines() == lines
    assert sorted(p.name for p in (out_dir / "answers").iterdir()) == ["Ada.csv"]
    assert '"people":{"Ada":{"3":[5,0]}}' in ask(server, "GET", f"/{server.token}/")[1]


def test_build_writes_the_course_layout(tmp_path, sample_dir):
    files = sorted((sample_dir / "train").rglob("*.jpg")) + sorted(
        (sample_dir / "test").rglob("*.jpg")
    )
    chosen = list(zip(files[0:60:2], files[1:60:2], strict=True))
    pairs.build(chosen, tmp_path / "ours")
    made = data.load(tmp_path / "ours")
    assert (made.num_pairs, made.num_queries, made.m) == (24, 6, 6)
    assert made.true_place is not None and not data.inspect(made).unreadable
    with pytest.raises(DataError, match="exists"):
        pairs.build(chosen, tmp_path / "ours")


def test_pairs_keeps_each_choice_and_refuses_a_picture_twice(tmp_path, sample_dir):
    folder = tmp_path / "pictures"
    shutil.copytree(sample_dir, folder)
    (folder / "damaged.jpg").write_bytes(b"nothing")
    server = pairs.serve(folder, tmp_path / "ours")
    server.server_close()
    server.actions["pairs"]({"left": 0, "right": 5})
    with pytest.raises(DataError, match="at least 25"):
        server.actions["finish"]({})
    for wrong in ({"left": 5, "right": 6}, {"left": 7, "right": 7}, {"left": -1, "right": 8}):
        with pytest.raises(DataError):
            server.actions["pairs"](wrong)
    again = pairs.serve(folder, tmp_path / "ours")
    again.server_close()
    assert '"pairs":[[0,5]]' in again.page()
    names = [p.name for p in (tmp_path / "ours_choices").iterdir()]
    assert sorted(names) == ["pairs.csv", "pictures"]


def test_pairs_names_skipped_pictures_and_a_target_that_cannot_be_written(
    tmp_path, sample_dir, monkeypatch, capsys
):
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    with pytest.raises(TllError, match="at least 50 different pictures"):
        pairs.serve(tmp_path, tmp_path / "ours")
    assert f"skipped {tmp_path / 'gone.jpg'}: No such file" in capsys.readouterr().err

    def refuse(path, mode=None):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "theirs"))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(TllError, match=r"pictures: cannot be written \(Permission denied\)"):
        pairs.serve(sample_dir, tmp_path / "theirs" / "ours")
    assert "skipped" not in capsys.readouterr().err
