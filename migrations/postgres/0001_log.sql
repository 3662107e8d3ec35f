-- The append-only log: events, what may be erased of them, the tree over them,
-- the checkpoints that were signed, and the output of deployments.
--
-- The tables mean what those of the same names mean on SQLite. A server's role is
-- granted `ledger_service`: it reads, and it appends through two functions,
-- `lock` and `append`. Triggers hold everybody else to the same rules, the owner and
-- a superuser included; see the next file.

-- Which migrations were applied.
CREATE TABLE ledger.migrations (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Where the log ends: one row. Whoever appends locks it until the commit, so
-- positions are in the order of the commits and a rollback leaves no gap.
CREATE TABLE ledger.head (
    id          smallint PRIMARY KEY CHECK (id = 1),
    position    bigint   NOT NULL,
    output      bigint   NOT NULL,
    -- The size of the newest checkpoint; 0 for none.
    signed      bigint   NOT NULL,
    -- Of the newest event.
    recorded_at bigint   NOT NULL,
    -- How many names there are.
    names       integer  NOT NULL,
    -- The first position that no partition of the events has room for.
    room        bigint   NOT NULL,
    -- How many positions the next partition gets.
    width       bigint   NOT NULL CHECK (width > 0)
-- Room for many versions of the row on its page: an update touches no index.
) WITH (fillfactor = 10);
INSERT INTO ledger.head VALUES (1, 0, 0, 0, -9223372036854775808, 0, 0, 10000000);

-- Text that many events share, once: names of streams, event types, actors' ids.
CREATE TABLE ledger.names (
    -- Below 2^30, so that it fits into the place of an event.
    id   integer PRIMARY KEY CHECK (id > 0 AND id < 1073741824),
    name text COLLATE "C" NOT NULL UNIQUE
);

-- One row per event. Together with its names it is the envelope that
-- `ledger_core::Record::envelope` documents; nothing that can be derived is here.
-- The order of the columns leaves no padding.
CREATE TABLE ledger.events (
    -- From 1, without a gap, in the order of the commits.
    position       bigint   NOT NULL,
    -- Microseconds since 1970; never falls.
    recorded_at    bigint   NOT NULL,
    -- The stream and the version, which counts from 1 without a gap within it, in
    -- one number, for a smaller index: stream * 2^33 + version.
    place          bigint   NOT NULL,
    -- recorded_at - occurred_at, in microseconds; NULL for 0, which takes no byte.
    lag            bigint   CHECK (lag <> 0),
    type           integer  NOT NULL,
    actor          integer  NOT NULL,
    -- Of the first event of a write: how many events it is; NULL for 1.
    events         integer  CHECK (events > 1),
    actor_kind     smallint NOT NULL,
    event_id       uuid     NOT NULL,
    correlation_id uuid,
    causation_id   uuid,
    -- Of the first event of a write: the first bytes of the digest over what the
    -- client gave. The id of the request is not stored: the id of its first event
    -- is derived from it.
    given          bytea    CHECK (octet_length(given) = 8),
    -- Stays when the annex is erased.
    annex_digest   bytea    CHECK (octet_length(annex_digest) = 32),
    payload        bytea    NOT NULL,
    CHECK (given IS NOT NULL OR events IS NULL),
    PRIMARY KEY (position)
) PARTITION BY RANGE (position);

-- What events are found by their ids through: the first half, which begins with the
-- time. An index over it is a quarter smaller than one over the whole id, and so
-- does not say that ids are unique; `guard_events` does.
CREATE FUNCTION ledger.id_key(id uuid) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ('x' || encode(substr(uuid_send(id), 1, 8), 'hex'))::bit(64)::bigint;

-- The part of an event that can be erased.
CREATE TABLE ledger.annexes (
    position bigint PRIMARY KEY,
    salt     bytea  NOT NULL CHECK (octet_length(salt) = 16),
    bytes    bytea  NOT NULL
);

-- Annexes that were erased, each by an AnnexErased.
CREATE TABLE ledger.erasures (
    -- Whose annex.
    position bigint PRIMARY KEY,
    -- The event that ordered it.
    ordered  bigint NOT NULL
);

-- The full tiles of the tree: 256 hashes of one level each. A leaf hash stands
-- here and nowhere else; those of the last, not yet full tile are computed.
CREATE TABLE ledger.tiles (
    level  smallint NOT NULL,
    idx    bigint   NOT NULL,
    hashes bytea    NOT NULL CHECK (octet_length(hashes) = 8192),
    PRIMARY KEY (level, idx)
);
-- No time is lost on compressing hashes.
ALTER TABLE ledger.tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

-- The checkpoints that servers signed.
CREATE TABLE ledger.checkpoints (
    size bigint PRIMARY KEY,
    note text   NOT NULL
);

-- Pieces of the output of deployments.
CREATE TABLE ledger.outputs (
    -- From 1, without a gap, in the order of the commits.
    cursor     bigint PRIMARY KEY,
    -- How many bytes of the deployment's output came before.
    start      bigint NOT NULL,
    stored_at  bigint NOT NULL,
    deployment uuid   NOT NULL,
    bytes      bytea  NOT NULL CHECK (octet_length(bytes) > 0)
);
CREATE UNIQUE INDEX outputs_start ON ledger.outputs (deployment, start);
CREATE UNIQUE INDEX outputs_cursor ON ledger.outputs (deployment, cursor);
