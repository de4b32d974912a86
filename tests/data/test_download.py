"""The download of the release, from a server on this machine."""

import hashlib
import http.server
import threading
import zipfile

import pytest

from tll_utils.data import download
from tll_utils.data.download import get_release
from tll_utils.errors import DataError


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`, and notes what it was asked for; `breaks_after` bytes it hangs up, once."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.breaks_after, self.ranges = {}, [], None, True

    def address(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, name = self.server, self.path[1:]
        wanted = self.headers.get("Range")
        server.asked.append((name, wanted))
        if name not in server.files:
            return self.send_error(404)
        data, start = server.files[name], 0
        if wanted and server.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end, server.breaks_after = server.breaks_after, None
        self.wfile.write(data[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for side in ("left", "right"):
            with zipfile.ZipFile(tmp_path / side, "w") as archive:
                archive.writestr(f"{side}/0.jpg", side.encode() * 1000)
            server.files[f"{side}.zip"] = (tmp_path / side).read_bytes()
        addresses = {name: server.address(name) for name in server.files}
        monkeypatch.setattr(download, "ADDRESSES", addresses)
        yield server
        server.shutdown()


def test_archives_are_fetched_once_and_their_sums_noted(server, tmp_path):
    paths = get_release(tmp_path / "tll")
    assert [path.read_bytes() for path in paths] == list(server.files.values())
    noted = (tmp_path / "tll" / "SHA256SUMS").read_text().splitlines()
    assert noted == [f"{hashlib.sha256(d).hexdigest()}  {n}" for n, d in server.files.items()]
    get_release(tmp_path / "tll")
    assert len(server.asked) == 2


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_goes_on(server, tmp_path, ranges):
    server.breaks_after, server.ranges = 700, ranges
    with pytest.raises(DataError, match=r"left\.zip.*goes on where this one stopped"):
        get_release(tmp_path)
    assert (tmp_path / "left.zip.part").stat().st_size == 700
    assert not (tmp_path / "left.zip").exists()
    paths = get_release(tmp_path)
    assert [path.read_bytes() for path in paths] == list(server.files.values())
    assert ("left.zip", "bytes=700-") in server.asked


def test_a_whole_part_of_a_killed_process_is_taken(server, tmp_path):
    (tmp_path / "left.zip.part").write_bytes(server.files["left.zip"])
    assert get_release(tmp_path)[0].is_file()


def test_a_page_instead_of_the_archive_is_refused_and_not_kept(server, tmp_path):
    server.files["left.zip"] = b"<html>too many people looked at this file"
    with pytest.raises(DataError, match=r"no sound zip file.*in a browser from https://"):
        get_release(tmp_path)
    assert not list(tmp_path.glob("left.zip*"))


def test_a_damaged_image_in_the_archive_is_refused(server, tmp_path):
    server.files["left.zip"] = server.files["left.zip"].replace(b"leftleft", b"lefTleft", 1)
    with pytest.raises(DataError, match=r"left\.zip.*left/0\.jpg"):
        get_release(tmp_path)


def test_an_archive_that_differs_from_its_noted_sum_is_refused(server, tmp_path):
    left = get_release(tmp_path)[0]
    left.write_bytes(b"other")
    with pytest.raises(DataError, match=r"SHA-256 is [0-9a-f]{64}, but .*SHA256SUMS says"):
        get_release(tmp_path)


def test_no_server_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "ADDRESSES", {"left.zip": "http://127.0.0.1:9/left.zip"})
    with pytest.raises(DataError, match=r"did not send it.*in a browser"):
        get_release(tmp_path)
