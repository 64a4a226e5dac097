"""Messages get the key of the account that pays for their events; those that mix partitions are cut."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.keys import Keys
from pipelines.message_events import read_messages
from pipelines.partitions import partitions_of
from pipelines.rekeyed import LONGEST_PIECE_BYTES, Letter, Rekeyed, Rekeyer
from pipelines.workspace import Workspace
from schemas.roster import Roster
from schemas.usage import Header
from tests.examples import examples
from tests.test_pipelines_worker import meeting

Make = Callable[..., bytes]

PARTITIONS = 4
MOST_BYTES = 1 << 20
QINGSHAN, LANTIAN, HUAXING = "conf-qingshan", "conf-lantian", "conf-huaxing-sh"
ACCOUNTS = {QINGSHAN: "qingshan", LANTIAN: "lantian", HUAXING: "huaxing"}
WAYS: dict[str, int] = dict(zip(ACCOUNTS, partitions_of([*ACCOUNTS.values()], PARTITIONS).tolist(), strict=True))
assert WAYS[QINGSHAN] != WAYS[LANTIAN]


@pytest.fixture(scope="module")
def roster(tmp_path_factory: pytest.TempPathFactory) -> Roster:
    workspace = Workspace.create(tmp_path_factory.mktemp("rekeyed") / "shop", "video-conference", "2026-10")
    return workspace.read_sources()[1]


@pytest.fixture(scope="module")
def rekeyer(roster: Roster) -> Rekeyer:
    return Rekeyer(Keys(roster), PARTITIONS, MOST_BYTES)


def letter(value: bytes | None, key: bytes | None = b"device-7", headers: Sequence[Header] = (), at: int = 0) -> Letter:
    return Letter(at % 3, at, key, value, headers)


def used(*subjects: str) -> list[bytes]:
    return [meeting(number, subject=subject) for number, subject in enumerate(subjects)]


def lines(*subjects: str) -> bytes:
    return b"\n".join(used(*subjects))


def array(*subjects: str) -> bytes:
    return b"[%s]" % b", ".join(used(*subjects))


def arrow(*subjects: str) -> bytes:
    rows = [{**event, "data": None} for event in map(orjson.loads, used(*subjects))]
    frame = pl.DataFrame(rows).drop("data").with_columns(minutes=pl.lit("1.5"), region=pl.lit("cn"), call_type=pl.lit("video"))
    out = io.BytesIO()
    frame.write_ipc_stream(out)
    return out.getvalue()


def binary(subject: str) -> Letter:
    names = {"specversion": "1.0", "id": "m", "source": "/c", "type": "meeting.ended", "time": "2026-10-05T02:00:00Z"}
    headers = [(f"ce_{name}", text.encode()) for name, text in (names | {"subject": subject}).items()]
    return letter(b'{"minutes": 1}', headers=[*headers, ("trace", b"7")])


def every(rekeyed: Rekeyed) -> list[tuple[int, Letter]]:
    return [(partition, letter) for partition, letters in sorted(rekeyed.letters.items()) for letter in letters]


@pytest.mark.parametrize("make", [lines, array, arrow], ids=lambda make: make.__name__)
@pytest.mark.parametrize("count", [1, 3, 5_000])
def test_events_of_one_account_pass_on_in_their_own_bytes_with_its_key(make: Make, count: int, rekeyer: Rekeyer) -> None:
    headers = [("content-type", b"application/cloudevents"), ("trace", None)]
    value = make(*[QINGSHAN] * count)
    rekeyed = rekeyer.rekey([letter(value, headers=headers)])
    assert every(rekeyed) == [(WAYS[QINGSHAN], Letter(0, 0, b"qingshan", value, headers))]
    assert (rekeyed.events, rekeyed.split, rekeyed.unowned) == (count, 0, 0)


def test_an_event_in_binary_mode_passes_on_with_its_headers(rekeyer: Rekeyer) -> None:
    sent = binary(LANTIAN)
    assert dict(every(rekeyer.rekey([letter(meeting(1)), sent]))) == {
        WAYS[QINGSHAN]: letter(meeting(1), b"qingshan"),
        WAYS[LANTIAN]: sent._replace(key=b"lantian"),
    }


UNOWNED = {
    "no JSON": b'{"specversion":"1.0",',
    "no UTF-8": b'{"subject":"\xff"}',
    "nobody": meeting(1, subject="nobody"),
    "no subject": meeting(1, subject=None),
    "a number for a subject": meeting(1, subject=7),
    "empty array": b"[]",
    "nothing": b"",
    "broken array": b"[" + meeting(1),
    "broken Arrow": b"\xff\xff\xff\xffno",
    "an event that is too long": meeting(1, more="x" * MOST_BYTES),
    "tombstone": None,
}


@pytest.mark.parametrize("name", UNOWNED)
@pytest.mark.parametrize("key", [b"device-7", b"", None])
def test_what_nobody_owns_passes_on_as_it_is_by_a_partition_that_is_always_the_same(
    name: str, key: bytes | None, rekeyer: Rekeyer
) -> None:
    sent = letter(UNOWNED[name], key, [("trace", b"7")], at=5)
    expected = sent.partition % PARTITIONS if key is None else int(partitions_of([key.decode()], PARTITIONS)[0])
    assert every(rekeyer.rekey([sent])) == [(expected, sent)]


@pytest.mark.parametrize("make", [lines, array, arrow], ids=lambda make: make.__name__)
def test_a_message_that_mixes_accounts_is_cut_into_one_for_each(make: Make, rekeyer: Rekeyer) -> None:
    value = make(QINGSHAN, LANTIAN, "nobody", QINGSHAN)
    whole = read_messages([value], [], MOST_BYTES)["message"].to_list()
    rekeyed = rekeyer.rekey([letter(value, headers=[("trace", b"7")])])
    found = dict(every(rekeyed))
    read = {place: read_messages([str_or(piece.value)], [], MOST_BYTES)["message"].to_list() for place, piece in found.items()}
    assert read == {WAYS[QINGSHAN]: [whole[0], whole[2], whole[3]], WAYS[LANTIAN]: [whole[1]]}
    assert {piece.key for piece in found.values()} == {b"qingshan", b"lantian"}
    assert all(piece.headers == [("trace", b"7")] for piece in found.values())
    assert (rekeyed.events, rekeyed.split, rekeyed.unowned) == (4, 1, 1)


def str_or(value: bytes | None) -> bytes:
    assert value is not None
    return value


def test_an_arrow_message_that_grows_as_json_becomes_messages_that_fit(rekeyer: Rekeyer) -> None:
    value = arrow(*[QINGSHAN, LANTIAN] * 5_000)
    rekeyed = rekeyer.rekey([letter(value)])
    sizes = [len(str_or(piece.value)) for _, piece in every(rekeyed)]
    assert len(sizes) > 2
    assert max(sizes) <= LONGEST_PIECE_BYTES
    assert sum(str_or(piece.value).count(b"\n") + 1 for _, piece in every(rekeyed)) == 10_000


def test_accounts_that_share_a_partition_stay_together(roster: Roster) -> None:
    value = array(QINGSHAN, LANTIAN, HUAXING)
    rekeyed = Rekeyer(Keys(roster), 1, MOST_BYTES).rekey([letter(value)])
    assert every(rekeyed) == [(0, letter(value, b"qingshan"))]
    assert rekeyed.split == 0


def test_a_top_up_goes_to_the_account_it_names(rekeyer: Rekeyer) -> None:
    order = meeting(1, type="boss.balance.topup", subject="lantian", data={"amount": "5"})
    assert every(rekeyer.rekey([letter(order)])) == [(WAYS[LANTIAN], letter(order, b"lantian"))]


MEMBERS = st.sampled_from(
    [
        *(meeting(number, subject=subject) for number, subject in enumerate([*ACCOUNTS, *ACCOUNTS])),
        meeting(90, subject="nobody"),
        b"7",
        b'"text"',
        b"null",
        b"[%s]" % meeting(91, subject=LANTIAN),
        b'{"id": "x", \n "subject": "%s"}' % LANTIAN.encode(),
    ]
)
VALUES = st.lists(MEMBERS, max_size=6).map(lambda members: b"[%s]" % b",".join(members)) | st.lists(
    MEMBERS.filter(lambda member: b"\n" not in member) | st.just(b'{"cut": '), min_size=1, max_size=6
).map(b"\n".join)


@examples(150)
@given(st.lists(VALUES, min_size=1, max_size=5), st.sampled_from([1, 2, 4, 7]))
def test_whatever_comes_each_event_goes_on_once_and_is_read_as_before(
    roster: Roster, values: list[bytes], partitions: int
) -> None:
    keys = Keys(roster)
    letters = [Letter(number % 2, number, None, value, ()) for number, value in enumerate(values)]
    rekeyed = Rekeyer(keys, partitions, MOST_BYTES).rekey(letters)
    before = read_messages(values, [], MOST_BYTES)
    sent = every(rekeyed)
    after = read_messages([str_or(piece.value) for _, piece in sent], [], MOST_BYTES)
    columns = ["message", "subject", "reason", "detail"]
    assert sorted(before.select(columns).rows(), key=str) == sorted(after.select(columns).rows(), key=str)
    owner = keys.of_all(after["subject"], after["occurred_at"], after["type"])
    for came_in, key in zip(after["came_in"], owner, strict=True):
        if key is not None:
            assert sent[came_in][0] == partitions_of([key], partitions)[0]
    texts = [(*sent[came_in], own) for came_in, own in zip(after["came_in"], owner, strict=True)]
    for source in (0, 1):  # the events of an account that came by one partition keep their order
        for key in owner.drop_nulls().unique():
            offsets = [piece.offset for _, piece, own in texts if own == key and piece.partition == source]
            assert offsets == sorted(offsets)
