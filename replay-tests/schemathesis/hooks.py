"""What a run of schemathesis must not do to itself."""

import itertools
import json
import os
import re
import secrets
import uuid

import schemathesis
from urllib3.connectionpool import HTTPConnectionPool

# The ids of the tokens that the runs hold: they must not revoke them.
HELD = set(filter(None, os.environ.get("LEDGER_HELD_TOKENS", "").split(",")))


@schemathesis.hook
def before_call(context, case, **kwargs):
    path = case.path_parameters or {}
    if path.get("id") in HELD:
        case.path_parameters = {**path, "id": str(uuid.uuid4())}
    # What is generated repeats ids and secrets, and one that was used is refused (409).
    # So most writes get fresh ones, as clients make them, and some keep what they repeat.
    if isinstance(case.body, dict) and next(writes) % 4:
        case.body = {key: fresh(key, value) for key, value in case.body.items()}


writes = itertools.count()
ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SECRET = re.compile("(ldg_[a-z]+_)[A-Za-z0-9_-]{43}")


def fresh(key, value):
    if key in ("request_id", "id") and isinstance(value, str) and ID.fullmatch(value):
        return str(uuid.uuid4())
    if key == "secret" and isinstance(value, str) and (good := SECRET.fullmatch(value)):
        return good[1] + secrets.token_urlsafe(32)
    return value


@schemathesis.deserializer("application/jsonl")
def read_lines(context, response):
    # The schema is that of one line. Each answer shows another of its lines.
    lines = response.content.splitlines()
    return json.loads(lines[next(shown) % len(lines)])


shown = itertools.count()

if os.environ.get("LEDGER_MANY_ADDRESSES"):
    # Requests without a good token are part of the run, and an address that sends more
    # than 30 of them in a minute is told to wait (429). So each request comes over a
    # connection of its own, from another address of this machine. The runs without a
    # good token do without this, and see the 429.
    addresses = itertools.cycle(f"127.0.0.{n}" for n in range(2, 255))
    get_connection = HTTPConnectionPool._get_conn

    def get_fresh_connection(pool, timeout=None):
        connection = get_connection(pool, timeout)
        connection.close()
        connection.source_address = (next(addresses), 0)
        return connection

    HTTPConnectionPool._get_conn = get_fresh_connection
