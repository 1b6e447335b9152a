"""Lists and tables of inputs: what a row means, and which rows are refused."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from melcli.errors import UsageError
from melcli.pipeline.lists import COLUMNS, Listed, read_list
from melcli.pipeline.plan import Selection, make_plan
from melcli.store.records import Excerpt

FORMATS = ["csv", "tsv", "jsonl"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder; no list is of files that are opened."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listed(text: str, name: str = "list.csv", **options: object) -> list[Listed]:
    """Write a list and read it."""
    Path(name).write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    return list(read_list(name, ignored=Counter(), **options))  # type: ignore[arg-type]


def refused(text: str, name: str = "list.csv", **options: object) -> str:
    """What a list is refused with."""
    with pytest.raises(UsageError) as caught:
        listed(text, name, **options)
    return f"{caught.value}; {caught.value.remedy}"


def test_columns_may_be_missing() -> None:
    """All but the path is optional, as a column and as a value."""
    assert listed("path\na.wav\n") == [Listed(b"a.wav")]
    assert listed("end,path,id\n2.5,a.wav,\n,b.wav,x\n") == [
        Listed(b"a.wav", end=2.5),
        Listed(b"b.wav", "x"),
    ]
    assert listed('{"path": "a.wav", "start": null, "channel": 1}\n\n', "list.jsonl") == [
        Listed(b"a.wav", channel=1)
    ]


TEXTS = st.text(
    st.characters(exclude_characters="\0\r\n\t/.", exclude_categories=["Cs"]), min_size=1
)
SECONDS = st.floats(0, 1e6, allow_subnormal=False)


@st.composite
def rows(draw: st.DrawFn) -> Listed:
    """Any row that a table can have."""
    start = draw(SECONDS)
    end = start + draw(st.floats(0.001, 1e6))
    return Listed(
        draw(TEXTS).encode(),
        draw(st.none() | TEXTS),
        start,
        draw(st.sampled_from([end, math.inf])),
        draw(st.integers(-1, 1000)),
    )


@given(expected=st.lists(rows(), max_size=5), kind=st.sampled_from(FORMATS))
def test_what_is_written_is_read(expected: list[Listed], kind: str) -> None:
    """Any path, id, number: each format gives back what was written to it."""
    columns = [
        {
            "path": row.path.decode(),
            "id": row.id,
            "start": row.start,
            "end": None if row.end == math.inf else row.end,
            "channel": None if row.channel < 0 else row.channel,
        }
        for row in expected
    ]
    file = io.StringIO()
    if kind == "jsonl":
        file.writelines(f"{json.dumps(row)}\n" for row in columns)
    elif kind == "csv":
        writer = csv.DictWriter(file, ["path", "id", "start", "end", "channel"])
        writer.writeheader()
        writer.writerows(columns)
    else:
        file.write("path\tid\tstart\tend\tchannel\n")
        file.writelines(
            "\t".join("" if value is None else str(value) for value in row.values()) + "\n"
            for row in columns
        )
    found = listed(file.getvalue(), f"list.{kind}")
    assert found == [
        # Standard input is asked for by argument; "-" in a list is a file.
        row._replace(path=b"./-") if row.path == b"-" else row
        for row in expected
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(
    data=st.binary(max_size=200)
    | st.builds(
        lambda rows: "\n".join(map(json.dumps, rows)).encode(),
        st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, JSON)), max_size=3),
    )
    | st.builds(lambda rest: b"path,start,end,channel,id\n" + rest, st.binary(max_size=100)),
    kind=st.sampled_from([*FORMATS, "scp", "txt"]),
)
def test_any_bytes_are_a_list_or_refused(data: bytes, kind: str) -> None:
    """Whatever a list holds, each of its inputs could be one, or it is refused in words."""
    Path(f"list.{kind}").write_bytes(data)
    with contextlib.suppress(UsageError):
        for row in read_list(f"list.{kind}", ignored=Counter()):
            assert row.path
            assert Excerpt("", row.start, row.end, row.channel).is_possible
            assert row.id != ""


def test_marks_of_other_programs() -> None:
    """A byte order mark, DOS line ends, quotation marks where they mean nothing."""
    assert listed("\ufeffpath,start\r\na.wav,1\r\n") == [Listed(b"a.wav", start=1)]
    assert listed('path\tid\n"a.wav\t7" single\n', "list.tsv") == [Listed(b'"a.wav', '7" single')]
    assert listed('path,id\n"a, b.wav",x\n') == [Listed(b"a, b.wav", "x")]


def test_names_that_are_not_utf8(folder: Path) -> None:
    """A path may hold any bytes; an id is told as everywhere, with the byte in hexadecimal."""
    (folder / "list.csv").write_bytes(b"path,id\nb\xff.wav,a\xfe\n")
    assert list(read_list("list.csv", ignored=Counter())) == [Listed(b"b\xff.wav", "a%FE")]


def test_the_name_tells_the_format(folder: Path) -> None:
    """A list of any other name holds names, and who says otherwise is believed."""
    assert listed("path,start\n", "list.txt") == [Listed(b"path,start")]
    assert listed("path,start\n", "list.csv", list_format="names") == [Listed(b"path,start")]
    assert listed("path,start\na,1\n", "list.txt", list_format="csv") == [Listed(b"a", start=1)]
    (folder / "x.csv").write_bytes(b"a.csv\0b\0")
    assert list(read_list("x.csv", null=True, ignored=Counter())) == [
        Listed(b"a.csv"),
        Listed(b"b"),
    ]


def test_bad_rows_are_named() -> None:
    """Some rows at once, each with its line and what is wrong with it."""
    text = refused("path,start,end\na,1,1\nb,x,2\n,0,1\nc,0,1\nd,-1,\n")
    assert "list.csv: rows cannot be read:" in text
    for line in (
        "line 2: start 1, end 1: the end must come after the start",
        "line 3: start 'x': must be a number",
        "line 4: has no path",
        "line 6: start -1: must not be before the recording",
    ):
        assert f"\n  {line}" in text
    assert "line 5" not in text
    many = refused("path,start\n" + "a,inf\n" * 9)
    assert many.count("line ") == 5
    assert "(there may be more)" in many


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ('{"path": 3}', "has no path"),
        ('{"path": "a\\u0000b"}', "has no path"),
        ("[1]", "is no JSON object"),
        ("{", "is no JSON object"),
        ('{"path": "a", "start": true}', "start True: must be a number"),
        ('{"path": "a", "start": NaN}', "start nan: must be a number"),
        ('{"path": "a", "channel": 0.5}', "channel 0.5: must be a whole number"),
        ('{"path": "a", "channel": 1e30}', "channel 1e+30: must be a whole number"),
        ('{"path": "a", "start": 1e300}', "start 1e+300, end inf: no recording is that long"),
        ('{"path": "a", "end": 1e10}', "start 0, end 1e+10: no recording is that long"),
        ('{"path": "a", "id": [1]}', "id [1]: must be a text"),
        ('{"path": "a", "start": []}', "start []: must be a number"),
        ("[" * 100_000, "is no JSON object"),
        ('{"path": "a", "id": "../x"}', "has an empty part, or '.' or '..', in it"),
        ('{"path": "a", "id": "/x"}', "is absolute"),
    ],
)
def test_bad_values(row: str, cause: str) -> None:
    """Whatever stands in a row, it is a part of a file or it is refused."""
    assert f"line 1: {cause}" in refused(row, "list.jsonl").replace("the id '../x' ", "").replace(
        "the id '/x' ", ""
    )


def test_bad_tables() -> None:
    """A table without paths, with ragged lines, or with a column that was mistyped."""
    assert "names no column 'path': a.wav, 1; begin it with" in refused("a.wav,1\n")
    assert "names no column 'path': it is empty" in refused("")
    assert "line 3: 1 values for 2 columns" in refused("path,id\na,b\nc\n")
    assert "two columns have one name" in refused("path,id,id\na,b,c\n")
    assert "line 2: unexpected end of data" in refused('path\n"a\n')
    assert "there is no column 'strat'; is 'start' meant?" in refused("path,strat\na,1\n")
    assert "there is no column 'Start'; is 'start' meant?" in refused("path,Start\na,1\n")


def test_other_columns_are_counted() -> None:
    """A column that means nothing here is left out, and that is told."""
    ignored: Counter[str] = Counter()
    Path("list.csv").write_text("path,label\na,dog\n", encoding="utf-8")
    assert list(read_list("list.csv", ignored=ignored)) == [Listed(b"a")]
    assert dict(ignored) == {"column 'label' of the table": 1}


class TestKaldi:
    """``wav.scp``, alone and with ``segments``."""

    def test_recordings(self) -> None:
        """An id and a path, which may have spaces in it."""
        assert listed("rec1 /a/b c.wav\nrec2  d.flac\n", "wav.scp") == [
            Listed(b"/a/b c.wav", "rec1"),
            Listed(b"d.flac", "rec2"),
        ]

    def test_segments(self) -> None:
        """Each utterance is a part of its recording; -1 is the end."""
        Path("segments").write_text("u1 rec1 0.5 2.25\nu2 rec1 3 -1\n", encoding="utf-8")
        assert listed("rec1 a.wav\n", "wav.scp", segments="segments") == [
            Listed(b"a.wav", "u1", 0.5, 2.25),
            Listed(b"a.wav", "u2", 3.0),
        ]

    def test_refused(self) -> None:
        """Commands are not run, and what does not fit together is told with its line."""
        assert "line 1: is a command, and melcli runs none" in refused("a sox x |\n", "wav.scp")
        assert "line 1: is not an id and a path" in refused("a\n", "wav.scp")
        Path("segments").write_text("u1 rec9 0 1\nu2\n", encoding="utf-8")
        text = refused("rec1 a.wav\n", "wav.scp", segments="segments")
        assert "segments: rows cannot be read:" in text
        assert "line 1: there is no recording rec9 in wav.scp" in text
        assert "line 2: is not an id, a recording, a start and an end" in text
        assert "segments are of Kaldi's wav.scp" in refused("path\na\n", segments="segments")


def test_options_that_do_not_fit() -> None:
    """NUL separates names only, and what is said of a list needs one."""
    assert "--null separates names" in refused("a\0", "x.txt", null=True, list_format="csv")
    assert "cannot be read: No such file" in refused_selection(files_from="none.csv")
    assert "--segments goes with a list" in refused_selection(paths=("a",), segments="x")
    assert "--files-format goes with a list" in refused_selection(paths=("a",), files_format="csv")


def refused_selection(**options: object) -> str:
    """What a plan is refused with."""
    with pytest.raises(UsageError) as caught:
        make_plan(Selection(**options))  # type: ignore[arg-type]
    return str(caught.value)


class TestPlan:
    """What a plan makes of a table."""

    def test_ids(self) -> None:
        """A part without an id is called by its path, its ends and its channel."""
        Path("a.wav").touch()
        Path("t.csv").write_text(
            "path,id,start,end,channel\n"
            "a.wav,,,,\na.wav,,1.5,2,\na.wav,,0,1.25,1\na.wav,,3,,\na.wav,,,,0\na.wav,x/y,1,2,0\n",
            encoding="utf-8",
        )
        plan = make_plan(Selection(files_from="t.csv"))
        assert list(plan.ids()) == [
            *("a.wav", "a.wav@1.5-2", "a.wav@0-1.25#1", "a.wav@3-", "a.wav#0", "x/y"),
        ]
        assert [planned.path for planned in plan] == [b"a.wav"] * 6
        excerpts = [planned.excerpt for planned in plan]
        assert excerpts[0] is None
        assert excerpts[5] == ("a.wav", 1.0, 2.0, 0)
        assert plan[1].name == "a.wav@1.5-2"
        assert plan.file_bytes() == 0

    def test_twice_the_same(self) -> None:
        """Two rows that would be called the same are refused, as two files are."""
        Path("t.csv").write_text("path,start\na.wav,1\na.wav,1.0\n", encoding="utf-8")
        Path("a.wav").touch()
        with pytest.raises(UsageError, match=r"two inputs with one id: a\.wav@1- and a\.wav@1-"):
            make_plan(Selection(files_from="t.csv"))

    def test_choosing(self) -> None:
        """Globs and shards look at ids, those of the table too."""
        Path("a.wav").touch()
        lines = [f"a.wav,u{n},{n},{n + 1}" for n in range(40)]
        Path("t.csv").write_text("\n".join(["path,id,start,end", *lines]), encoding="utf-8")
        some = make_plan(Selection(files_from="t.csv", include=("u1?",), exclude=("u13",)))
        assert list(some.ids()) == [f"u1{n}" for n in range(10) if n != 3]
        assert [planned.excerpt for planned in some][-1] == ("a.wav", 19.0, 20.0, -1)
        assert some.ignored["excluded"] == 31
        whole = make_plan(Selection(files_from="t.csv"))
        from melcli.store.shards import Shard

        parts = [make_plan(Selection(files_from="t.csv", shard=Shard(n, 3))) for n in (1, 2, 3)]
        found = {planned.id: planned for part in parts for planned in part}
        assert found == {planned.id: planned for planned in whole}

    def test_folders(self) -> None:
        """A folder in a list is walked; a part of one is refused."""
        Path("corpus").mkdir()
        Path("corpus/a.wav").touch()
        Path("t.csv").write_text("path,start\ncorpus,\n", encoding="utf-8")
        assert list(make_plan(Selection(files_from="t.csv")).ids()) == ["a.wav"]
        Path("t.csv").write_text("path,start\ncorpus,1\n", encoding="utf-8")
        with pytest.raises(UsageError, match="corpus: is a folder, and has no parts"):
            make_plan(Selection(files_from="t.csv"))
