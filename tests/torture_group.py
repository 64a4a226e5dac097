"""A fault of the embedded broker (tansu 0.6.0) that torture meets: a consumer group whose leader is gone for good.

When the leader leaves while the group forms anew, the broker keeps its name as the leader's, and nothing removes it any more,
since it is no member. Whoever joins then waits for that one to say who reads what, and never gets a partition. Apache Kafka
does not do this. It is mended by joining in that name and staying silent: then the broker finds a leader that has gone, and
chooses another.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.group import JoinGroupRequest, LeaveGroupRequest, ProtocolMetadata

SESSION_MS = 2_000
PROTOCOL = "faust"
ABOUT = {"assignment": {"actives": {}, "standbys": {}}, "url": "http://127.0.0.1:6066", "changelog_distribution": {}}
"""What a worker says of itself when it joins; the leader must be able to read it."""


def mend_group(kafka: str, group: str) -> bool:
    """Whether the broker called somebody the group's leader that is no member of it; then it was mended.

    Asks by joining, so the group forms anew, after a session: it should be one that stands still.
    """
    return asyncio.run(_mend(kafka, group))


async def _mend(kafka: str, group: str) -> bool:
    admin, client = AIOKafkaAdminClient(bootstrap_servers=kafka), AIOKafkaClient(bootstrap_servers=kafka)
    await admin.start()
    await client.bootstrap()
    try:
        joined = await join(client, group)
        described = await admin.describe_consumer_groups([group])
        members = {member[0] for response in described for found in response.groups for member in found[5]}
        lost = joined.leader_id not in {*members, joined.member_id}
        if lost:
            await join(client, group, joined.leader_id)
        # We do not leave: we may be the leader now. Both are forgotten after a session's silence.
    finally:
        await client.close()
        await admin.close()
    return lost


async def join(client: AIOKafkaClient, group: str, member_id: str = "") -> Any:
    """Join a group as a worker does; the broker's answer, with `member_id` and `leader_id`."""
    for _ in range(2):  # the first answer is only a name
        about = [(PROTOCOL, ProtocolMetadata(0, ["usage"], orjson.dumps(ABOUT)).encode())]
        request = JoinGroupRequest(group, SESSION_MS, 5 * SESSION_MS, member_id, None, "consumer", about)
        answer = await client.send(client.get_random_node(), request)
        member_id = answer.member_id
        if not answer.error_code:
            break
    return answer


async def leave(client: AIOKafkaClient, group: str, member_id: str) -> None:
    await client.send(client.get_random_node(), LeaveGroupRequest(group, member_id))
