"""Which files a list of paths means, whatever they are called."""

import os
from pathlib import Path

import pytest

from tasks.collect_files import FoundFile, collect_files
from winnow.exceptions import DefinitionError, NothingToDoError

# Names that a file may have on Linux, wherever it came from, and the name that it is known by.
NAMES = {
    "traversal": ("%2e%2e%2fpasswd", "%2e%2e%2fpasswd"),
    "Windows path": ("C:\\Users\\ada\\..\\secret.txt", "C:\\Users\\ada\\..\\secret.txt"),
    "device": ("CON", "CON"),
    "another device": ("com1.txt", "com1.txt"),
    "option": ("-rf", "-rf"),
    "home": ("~", "~"),
    "somebody's home": ("~root", "~root"),
    "three dots": ("a...", "a..."),
    "newline": ("one\ntwo.txt", "one?two.txt"),
    "tab and bell": ("a\tb\a.txt", "a?b?.txt"),
    "escape sequence": ("\x1b[31mred.txt", "?[31mred.txt"),
    "right to left override": ("invoice\u202efdp.exe", "invoice?fdp.exe"),
    "line separator": ("a\u2028b", "a?b"),
    "spaces": (" a  b ", " a  b "),
    "no-break space": ("Capture à\u202f10.00\xa0h.txt", "Capture à\u202f10.00\xa0h.txt"),
    "wide space": ("報告\u3000一.txt", "報告\u3000一.txt"),
    "joined emoji": ("👩\u200d🔬.txt", "👩\u200d🔬.txt"),
    "joined script": ("नमस्\u200dते.txt", "नमस्\u200dते.txt"),
    "combining marks": ("Gebu\u0308hr.txt", "Gebu\u0308hr.txt"),
    "right to left script": ("دعوى.txt", "دعوى.txt"),
    "quotes": ("'; DROP TABLE document; --", "'; DROP TABLE document; --"),
    "template": ("{x.__class__} {{7*7}} %s.txt", "{x.__class__} {{7*7}} %s.txt"),
    "markup": ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
    "longest": ("a" * 251 + ".txt", "a" * 251 + ".txt"),
    "longest in bytes": ("é" * 127, "é" * 127),
    "no extension": ("README", "README"),
}


def make(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("text")


def names(*paths: Path | str) -> list[str]:
    return [file.name for file in collect_files(map(str, paths))]


@pytest.mark.parametrize(("given", "known_as"), NAMES.values(), ids=NAMES)
def test_a_name_is_only_data(tmp_path: Path, given: str, known_as: str) -> None:
    make(tmp_path, given)

    assert collect_files([str(tmp_path)]) == [FoundFile(path=str(tmp_path / given), name=known_as)]
    assert collect_files([str(tmp_path / given)]) == [FoundFile(path=str(tmp_path / given), name=known_as)]


def test_a_name_that_is_no_unicode_is_found_and_can_be_opened_and_stored(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9 \xff.txt"
    with open(raw, "w") as file:
        file.write("text")
    (found,) = collect_files([str(tmp_path)])

    assert found.name == "caf? ?.txt"
    assert found.name.encode()
    assert Path(found.path).read_text() == "text"
    assert collect_files([os.fsdecode(raw)]) == [found]


def test_names_that_differ_in_case_alone_are_two_files(tmp_path: Path) -> None:
    make(tmp_path, "Letter.txt", "letter.txt")

    assert names(tmp_path) == ["Letter.txt", "letter.txt"]


def test_a_folder_is_walked_in_order_and_names_tell_where_files_are(tmp_path: Path) -> None:
    make(tmp_path, "b.txt", "a.txt", "2020/z.txt", "2020/deep/er/y.txt", "2019/x.txt")

    assert names(tmp_path) == ["a.txt", "b.txt", "2019/x.txt", "2020/z.txt", "2020/deep/er/y.txt"]
    assert all(Path(file.path).is_absolute() for file in collect_files([str(tmp_path)]))


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "a.txt", ".DS_Store", ".git/config", "sub/.hidden.txt", "sub/.cache/b.txt")

    assert names(tmp_path) == ["a.txt"]


def test_what_is_hidden_is_taken_where_it_is_named(tmp_path: Path) -> None:
    make(tmp_path, ".notes/.draft.txt", ".notes/b.txt")

    assert names(tmp_path / ".notes" / ".draft.txt") == [".draft.txt"]
    assert names(tmp_path / ".notes") == ["b.txt"]


def test_links_are_passed_over_so_that_nothing_outside_is_read(tmp_path: Path) -> None:
    make(tmp_path, "inside/a.txt", "outside/secret.txt")
    (tmp_path / "inside" / "file.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (tmp_path / "inside" / "folder").symlink_to(tmp_path / "outside")
    (tmp_path / "inside" / "circle").symlink_to(tmp_path / "inside")
    (tmp_path / "inside" / "nowhere").symlink_to(tmp_path / "gone")

    assert names(tmp_path / "inside") == ["a.txt"]


def test_a_link_is_followed_where_it_is_named(tmp_path: Path) -> None:
    make(tmp_path, "real/a.txt")
    (tmp_path / "folder").symlink_to(tmp_path / "real")
    (tmp_path / "file.txt").symlink_to(tmp_path / "real" / "a.txt")

    assert names(tmp_path / "folder") == ["a.txt"]
    assert names(tmp_path / "file.txt") == ["file.txt"]


def test_what_is_neither_file_nor_folder_is_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    assert names(tmp_path) == ["a.txt"]
    with pytest.raises(NothingToDoError):
        collect_files([str(tmp_path / "pipe.txt")])


def test_the_same_file_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "sub/a.txt", "b.txt")
    monkeypatch.chdir(tmp_path / "sub")

    assert names(tmp_path, tmp_path / "sub", tmp_path / "sub" / "a.txt", "a.txt", "../sub/./a.txt") == [
        "b.txt",
        "sub/a.txt",
    ]


def test_the_first_path_that_holds_a_file_gives_its_name(tmp_path: Path) -> None:
    make(tmp_path, "sub/a.txt")

    assert names(tmp_path / "sub" / "a.txt", tmp_path) == ["a.txt"]


def test_files_of_one_name_in_two_folders_are_both_found(tmp_path: Path) -> None:
    make(tmp_path, "one/a.txt", "two/a.txt")
    found = collect_files([str(tmp_path / "one"), str(tmp_path / "two")])

    assert [file.name for file in found] == ["a.txt", "a.txt"]
    assert len({file.path for file in found}) == 2


def test_paths_may_go_up_and_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.txt", "sub/b.txt")
    monkeypatch.chdir(tmp_path / "sub")

    assert collect_files(["../a.txt"]) == [FoundFile(path=str(tmp_path / "a.txt"), name="a.txt")]
    assert names(".") == ["b.txt"]
    assert names("..") == ["a.txt", "sub/b.txt"]


def test_the_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "letters/a.txt")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert names("~/letters") == ["a.txt"]


MISSING = {
    "a name": "nowhere",
    "a folder that is a file": "a.txt/b.txt",
    "nothing at all": "",
    "somebody's home": "~nobody-of-this-name/x",
    "too long for a name": "x" * 300,
    "too long for a path": "x/" * 3000,
    "a NUL": "a\0b",
    "no Unicode": "caf\udce9.txt",
    "a link to nowhere": "broken",
}


@pytest.mark.parametrize("path", MISSING.values(), ids=MISSING)
def test_a_path_that_is_not_there_is_a_mistake(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.txt")
    (tmp_path / "broken").symlink_to("gone")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DefinitionError, match="There is no file or folder") as raised:
        collect_files(["a.txt", path])
    assert repr(path) in str(raised.value)
    assert str(raised.value).encode()


def test_all_paths_that_are_not_there_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as raised:
        collect_files([str(tmp_path), "one", "two"])
    assert "'one', 'two'" in str(raised.value)
    assert repr(str(tmp_path)) not in str(raised.value)


def test_an_empty_folder_gives_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    make(tmp_path, "hidden/.a.txt")

    for folder in (tmp_path / "empty", tmp_path / "hidden"):
        with pytest.raises(NothingToDoError) as raised:
            collect_files([str(folder)])
        assert repr(str(folder)) in str(raised.value)


def test_no_path_gives_nothing_to_do() -> None:
    with pytest.raises(NothingToDoError, match="the list of paths"):
        collect_files([])
