import json
from pathlib import Path

from tools.demo.sources import source_files


def source(folder: Path) -> str:
    [(_, job_input)] = source_files(None, folder)
    text: str = json.loads(job_input)["source"]
    return text


def test_the_standard_library_has_well_over_500_source_files() -> None:
    assert len(source_files(600)) == 600


def test_files_are_named_from_the_library_and_come_in_order(tmp_path: Path) -> None:
    for name in ("b.py", "a/z.py", "site-packages/c.py", "a/__pycache__/d.py", "e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    assert [name for name, _ in source_files(None, tmp_path)] == ["a/z.py", "b.py"]
    assert [name for name, _ in source_files(1, tmp_path)] == ["a/z.py"]


def test_a_file_is_decoded_by_its_cookie(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes("# -*- coding: latin-1 -*-\nx = '\xe9'\n".encode("latin-1"))
    assert source(tmp_path).endswith("x = '\xe9'\n")


def test_a_byte_order_mark_is_not_part_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "bom.py").write_bytes(b"\xef\xbb\xbfx = 1\n")
    assert source(tmp_path) == "x = 1\n"


def test_what_cannot_be_a_job_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_bytes(b"x = '\xe9'\n")
    (tmp_path / "unknown.py").write_bytes(b"# coding: klingon\n")
    (tmp_path / "nul.py").write_bytes(b"x = '\0'\n")
    (tmp_path / "large.py").write_text("#" * 1024 * 1024)
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
    assert source_files(None, tmp_path) == []
