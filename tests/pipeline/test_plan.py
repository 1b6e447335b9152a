"""What counts as an input, what it is called, and which inputs cannot be told apart."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melcli.errors import NoInputError, UsageError
from melcli.pipeline.names import item_id, printable
from melcli.pipeline.plan import Plan, Selection, make_plan
from melcli.store import npy_path

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: planning never opens a file, so empty ones will do."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str | bytes) -> None:
    """Make empty files, and the folders they are in."""
    for name in map(os.fsencode, names):
        if b"/" in name:
            Path(os.fsdecode(name)).parent.mkdir(parents=True, exist_ok=True)
        Path(os.fsdecode(name)).touch()


def ids(*paths: str | Path, **options: object) -> list[str]:
    """Plan, and give the ids."""
    return list(make_plan(Selection(paths=paths, **options)).ids())  # type: ignore[arg-type]


class TestIds:
    """What inputs are called."""

    def test_found_in_a_folder(self) -> None:
        """A file found in a folder is called by its path within it, however the folder is given."""
        touch("corpus/a/b.wav", "corpus/c.flac")
        for given_as in ("corpus", "corpus/", "./corpus", Path("corpus").absolute()):
            assert ids(given_as) == ["a/b.wav", "c.flac"]

    def test_the_working_folder(self) -> None:
        """The working folder may be the input."""
        touch("a/b.wav", "c.wav")
        assert ids(".") == ["a/b.wav", "c.wav"]

    @pytest.mark.parametrize("name", ["corpus/a/b.wav", "./corpus//a/../a/b.wav"])
    def test_given_by_name(self, name: str) -> None:
        """A file given by name is called by its path from the working folder, tidied up."""
        touch("corpus/a/b.wav")
        assert ids(name) == ["corpus/a/b.wav"]

    def test_root(self) -> None:
        """``--root`` is where the ids of named files count from; folders keep their own."""
        touch("corpus/a/b.wav", "corpus/c.wav", "other/d.wav")
        named = ids("corpus/a/b.wav", "other", root="corpus")
        assert named == ["a/b.wav", "d.wav"]

    def test_outside_the_root(self, folder: Path) -> None:
        """A file outside the root is called by its absolute path without the leading slash."""
        touch("corpus/a.wav", "b.wav")
        assert ids("b.wav", root="corpus") == [str(folder / "b.wav").lstrip("/")]

    def test_no_id_leaves_the_output(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """However a file is reached, its id has no ``..`` and no leading slash."""
        touch("a.wav", "within/b.wav")
        monkeypatch.chdir("within")
        found = ids("../a.wav", "../within/../within/b.wav")
        assert found == [str(folder / "a.wav").lstrip("/"), "b.wav"]
        assert not any(".." in name or name.startswith("/") for name in found)

    def test_name_that_is_not_utf8(self) -> None:
        """Undecodable bytes become ``%FF``, and only in such a name ``%`` becomes ``%25``."""
        touch(b"corpus/caf\xe9 50%.wav", "corpus/50%.wav", "corpus/café.wav")
        assert ids("corpus") == ["50%.wav", "café.wav", "caf%E9 50%25.wav"]

    @given(st.lists(st.binary(min_size=1, max_size=6).filter(lambda name: b"\0" not in name)))
    def test_ids_tell_names_apart(self, names: list[bytes]) -> None:
        """Two names that are not UTF-8 never get one id, and every id is UTF-8."""
        bad = {name for name in names if _is_not_utf8(name)}
        found = {item_id(name) for name in bad}
        assert len(found) == len(bad)
        for name in found:
            name.encode()

    def test_messages_cannot_garble_a_terminal(self) -> None:
        """What messages call a file has no control characters and no stray bytes."""
        assert printable(b"a\x1b[31m\xff\n.wav") == "a\\x1b[31m\\xff\\n.wav"


def _is_not_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return True
    return False


class TestWalking:
    """What is found in folders."""

    def test_byte_order(self) -> None:
        """Ids come in the byte order of whole paths, whatever order the disk has them in."""
        names = ["a/b.wav", "a-b.wav", "a.wav", "B.wav", "a/a/z.wav", "ä.wav", "a0.wav"]
        touch(*(f"corpus/{name}" for name in names))
        assert ids("corpus") == sorted(names, key=os.fsencode)

    def test_hidden_files(self) -> None:
        """Hidden files and folders, and the ``._`` files of a Mac, are left out and counted."""
        touch("c/a.wav", "c/.b.wav", "c/._a.wav", "c/.git/d.wav")
        plan = make_plan(Selection(paths=("c",)))
        assert list(plan.ids()) == ["a.wav"]
        assert plan.ignored == {"hidden": 3}

    def test_extensions(self) -> None:
        """Audio of any case of extension is an input, foreign audio too; the rest is counted."""
        touch("c/a.WAV", "c/b.m4a", "c/c.txt", "c/d", "c/e.TXT", "c/f.mp3.part")
        plan = make_plan(Selection(paths=("c",)))
        assert list(plan.ids()) == ["a.WAV", "b.m4a"]
        assert plan.ignored == {".txt": 2, "no extension": 1, ".part": 1}

    def test_a_file_named_directly_is_always_tried(self) -> None:
        """Who names a file means it: no extension and no leading dot keeps it out."""
        touch("take", ".hidden.wav", "c.txt")
        assert ids("take", ".hidden.wav", "c.txt") == ["take", ".hidden.wav", "c.txt"]

    def test_links(self) -> None:
        """Links to files and folders are followed, and go by the name of the link."""
        touch("real/a.wav", "c/b.wav")
        Path("c/link.wav").symlink_to("../real/a.wav")
        Path("c/folder").symlink_to("../real")
        assert ids("c") == ["b.wav", "folder/a.wav", "link.wav"]

    def test_link_loops(self) -> None:
        """A link back up, or two links to one folder, is walked once and counted."""
        touch("c/a.wav", "c/b/d.wav", "real/e.wav")
        Path("c/b/up").symlink_to("..")
        Path("c/x1").symlink_to("../real")
        Path("c/x2").symlink_to("../real")
        plan = make_plan(Selection(paths=("c",)))
        assert list(plan.ids()) == ["a.wav", "b/d.wav", "x1/e.wav"]
        assert plan.ignored == {"link to a folder walked already": 2}

    def test_broken_link(self) -> None:
        """A link to nothing is planned, so that it fails with its cause and the books balance."""
        Path("c").mkdir()
        Path("c/a.wav").symlink_to("nothing.wav")
        touch("c/b.wav")
        plan = make_plan(Selection(paths=("c",)))
        assert list(plan.ids()) == ["a.wav", "b.wav"]
        assert (plan[0].size, plan[0].mtime_ns) == (None, None)

    def test_deep_folders(self) -> None:
        """Folders nested deeper than Python may recurse are walked."""
        depth, before = 1500, Path.cwd()
        try:
            for _ in range(depth):
                Path("d").mkdir()
                os.chdir("d")
            touch("a.wav")
            os.chdir(before)
            # The kernel refuses a path only beyond 4096 bytes.
            assert ids(".") == ["d/" * depth + "a.wav"]
        finally:
            os.chdir(before)
            # pytest's own tidying up would recurse too deeply.
            subprocess.run(["rm", "-rf", "d"], check=True)

    def test_include_and_exclude(self) -> None:
        """A glob with a slash is for the whole id, one without for any part of it."""
        touch("c/train/a.wav", "c/train/b.flac", "c/test/a.wav", "c/old/train/d.wav")
        assert ids("c", include=("*.flac",)) == ["train/b.flac"]
        assert ids("c", exclude=("old", "test")) == ["train/a.wav", "train/b.flac"]
        assert ids("c", include=("train/*",)) == ["train/a.wav", "train/b.flac"]
        assert ids("c", include=("train",), exclude=("*.wav",)) == ["train/b.flac"]
        plan = make_plan(Selection(paths=("c/train/a.wav", "c/test"), exclude=("train",)))
        assert list(plan.ids()) == ["a.wav"]
        assert plan.ignored == {"excluded": 1}

    def test_size_and_time(self) -> None:
        """The plan keeps what ``stat`` says, by which a changed file is known."""
        Path("a.wav").write_bytes(b"12345")
        os.utime("a.wav", ns=(1, 1_700_000_000_123_456_789))
        plan = make_plan(Selection(paths=("a.wav",)))
        assert (plan[0].size, plan[0].mtime_ns) == (5, 1_700_000_000_123_456_789)
        assert plan.total_bytes() == 5

    def test_memory(self) -> None:
        """An input takes at most 200 bytes of the plan."""
        plan = Plan()
        root, n_inputs = plan.root(b"/data/corpus/"), 10_000
        status = Path(__file__).stat()
        for number in range(n_inputs):
            plan.add(
                root, b"speaker-%04d/chapter-%02d/%06d.flac" % (number % 97, 3, number), status
            )
        columns = (plan._names, plan._ends, plan._root_of, plan._sizes, plan._mtimes)
        assert sum(map(sys.getsizeof, columns)) < 200 * n_inputs


class TestLists:
    """Names from ``--files-from``."""

    def test_lines(self) -> None:
        """One name a line; Windows line ends and empty lines do no harm, spaces are kept."""
        touch("a.wav", " b c.wav", "d.wav")
        Path("list").write_bytes(b"a.wav\r\n\n b c.wav\nd.wav")
        assert ids(files_from="list") == ["a.wav", " b c.wav", "d.wav"]

    def test_null(self) -> None:
        """With ``-0`` a name may hold a line break."""
        touch("a\nb.wav", "c.wav")
        Path("list").write_bytes(b"a\nb.wav\0c.wav\0")
        assert ids(files_from="list", null=True) == ["a\nb.wav", "c.wav"]

    def test_from_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """``-`` reads the names from standard input."""
        touch("a.wav")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a.wav\n")))
        assert ids(files_from="-") == ["a.wav"]

    def test_dash_in_a_list(self) -> None:
        """A ``-`` in a list is a file of that name, and no stream."""
        touch("-")
        Path("list").write_bytes(b"-\n")
        [planned] = make_plan(Selection(files_from="list"))
        assert (planned.id, planned.path) == ("-", b"-")

    def test_beside_arguments(self) -> None:
        """Arguments come first, then the list; a folder in a list is walked."""
        touch("c/a.wav", "b.wav")
        Path("list").write_bytes(b"c\n")
        assert ids("b.wav", files_from="list") == ["b.wav", "a.wav"]

    def test_missing_list(self) -> None:
        """A list that is not there is wrong usage, and named."""
        with pytest.raises(UsageError, match=r"^nolist: the list cannot be read: No such"):
            ids(files_from="nolist")

    def test_one_stream_for_two_things(self) -> None:
        """Standard input cannot be both the audio and the list."""
        with pytest.raises(UsageError, match="both the audio and the list") as raised:
            ids("-", files_from="-")
        assert "--files-from list.txt" in str(raised.value.remedy)

    def test_missing_file_in_a_list(self) -> None:
        """One missing file among others is planned, and fails when its turn comes."""
        touch("a.wav")
        Path("list").write_bytes(b"a.wav\nb.wav\n")
        assert ids(files_from="list") == ["a.wav", "b.wav"]


class TestNothing:
    """An empty run is never a success."""

    def test_empty_folder(self) -> None:
        """An empty folder is told to be empty."""
        Path("empty").mkdir()
        with pytest.raises(NoInputError, match="no audio was found: empty is empty"):
            ids("empty")

    def test_empty_list(self) -> None:
        """So is an empty list."""
        touch("list")
        with pytest.raises(NoInputError, match="no audio was found: list is empty"):
            ids(files_from="list")

    def test_nothing_but_other_files(self) -> None:
        """What was left out is counted, and how to have it tried is told."""
        touch("c/a.txt", "c/b.txt", "c/.d.wav")
        with pytest.raises(NoInputError, match=r"left out: 2 \.txt, 1 hidden") as raised:
            ids("c")
        assert "name a file directly" in str(raised.value.remedy)

    def test_everything_excluded(self) -> None:
        """Globs that leave nothing say so."""
        touch("a.wav")
        with pytest.raises(NoInputError, match="1 excluded"):
            ids("a.wav", exclude=("*.wav",))

    def test_missing(self) -> None:
        """Names of what does not exist are told, though not all of very many."""
        with pytest.raises(NoInputError, match=r"no such file or folder: a, b, c, \.\.\.$"):
            ids("a", "b", "c", "d")


class TestCollisions:
    """Two inputs that could not be told apart are refused before any work."""

    @pytest.mark.parametrize(
        ("paths", "named"),
        [
            (("one", "two"), "one/a.wav and two/a.wav"),
            (("one/a.wav", "one/a.wav"), "one/a.wav and one/a.wav"),
        ],
    )
    def test_one_id(self, paths: tuple[str, ...], named: str) -> None:
        """Two inputs with one id are an error that names where both lie, and what to do."""
        touch("one/a.wav", "two/a.wav")
        with pytest.raises(UsageError, match=f"two inputs with one id: {named}") as raised:
            ids(*paths)
        assert "rename one of them" in str(raised.value.remedy)

    @pytest.mark.parametrize(
        "names", [("A.wav", "a.wav"), ("STRASSE.wav", "straße.wav"), ("ä.wav", "Ä.wav")]
    )
    def test_equal_but_for_case(self, names: tuple[str, str]) -> None:
        """Nor may two differ in case only: on some disks they would be one file."""
        touch(*(f"c/{name}" for name in names))
        with pytest.raises(UsageError, match="two inputs with one id") as raised:
            ids("c")
        assert all(f"c/{name}" in raised.value.cause for name in names)

    @pytest.mark.parametrize("above", ["x", "X"])
    def test_one_inside_the_other(self, above: str) -> None:
        """``x`` and ``x/y`` cannot both be in a tree."""
        touch("c/x", f"d/{above}/y.wav", "d/w.wav")
        with pytest.raises(UsageError, match=f"c/x and d/{above}/y.wav"):
            ids("c/x", "d", root="c")

    def test_deep_inside(self) -> None:
        """However deep it lies, and whatever comes between."""
        touch("x", "d/x/a/b/c.wav", "d/x-1.wav")
        with pytest.raises(UsageError, match=r"x and d/x/a/b/c\.wav"):
            ids("d", "x")

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (("a.flac", "a.wav"), "two inputs stored as one file: c/a.flac and c/a.wav"),
            (("a.FLAC", "A.wav"), "two inputs stored as one file: c/A.wav and c/a.FLAC"),
            (("x.npy/y.wav", "x.wav"), "two inputs stored as one file: c/x.wav and c/x.npy/y.wav"),
        ],
    )
    def test_one_file(self, names: tuple[str, str], message: str) -> None:
        """In a folder of ``.npy`` two inputs may not be stored as one file, nor one in another."""
        touch(*(f"c/{name}" for name in names))
        assert ids("c") == sorted(names, key=os.fsencode)  # an .h5 file keeps whole names
        with pytest.raises(UsageError) as raised:
            make_plan(Selection(paths=("c",)), stores_by=npy_path)
        first, second = message.split(": ")[1].split(" and ")
        assert first in raised.value.cause
        assert second in raised.value.cause
        assert "stored as one file" in raised.value.cause
        assert ".h5" in str(raised.value.remedy)

    @pytest.mark.parametrize("name", ["a.wav#0", "a.wav@12", "a.wav#1@0"])
    def test_an_input_named_like_an_item(self, name: str) -> None:
        """Where inputs become several items, no input may be called as an item of another."""
        touch("a.wav", name)
        assert ids("a.wav", name) == ["a.wav", name]
        with pytest.raises(UsageError, match=f"a.wav and {name}"):
            make_plan(Selection(paths=("a.wav", name)), splits=True)

    @given(
        st.lists(
            st.lists(st.sampled_from(["a", "A", "b", "a-", "a.b"]), min_size=1, max_size=3).map(
                "/".join
            ),
            min_size=1,
            max_size=8,
        )
    )
    def test_all_pairs(self, names: list[str]) -> None:
        """A plan is refused exactly if some pair of its names collides, whatever their order."""
        plan = Plan()
        for name in names:
            plan.add(plan.root(b"/c/"), name.encode(), None)
        folded = [name.casefold() for name in names]
        expected = any(
            one == other or other.startswith(one + "/")
            for i, one in enumerate(folded)
            for j, other in enumerate(folded)
            if i != j
        )
        assert _refused(lambda: _refuse(plan)) == expected


def _refuse(plan: Plan) -> None:
    from melcli.pipeline import plan as module

    module._refuse_collisions(plan, plan.id, "inputs with one id", "", splits=False)


def _refused(call: Callable[[], None]) -> bool:
    try:
        call()
    except UsageError:
        return True
    return False


@given(st.lists(st.text(max_size=3), unique=True, max_size=20), st.text(max_size=3))
def test_finder(names: list[str], other: str) -> None:
    """The finder gives the position of every id, and None for what is none."""
    plan = Plan()
    for name in names:
        plan.add(plan.root(b"/c/"), name.encode(errors="replace"), None)
    find = plan.finder()
    known = list(plan.ids())
    assert all(known[position] == name for name in known if (position := find(name)) is not None)
    assert all(find(name) is not None for name in known)
    assert (find(other) is None) == (other not in known)
