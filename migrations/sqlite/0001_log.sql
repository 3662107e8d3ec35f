-- The append-only log: events, what may be erased of them, the tree over them,
-- the checkpoints that were signed, and the output of deployments.
--
-- Triggers refuse every UPDATE and DELETE, but for the erasure of an annex that
-- an event of the log orders. The guards before INSERT refuse
-- whatever is no continuation; without them INSERT OR REPLACE would delete rows
-- unseen on a connection that has recursive_triggers off, as it is by default.

-- What many events share, once: names of streams, event types, actors' ids, as
-- texts; and the ids of activations, 16 bytes each, which name their streams and
-- what belongs to them.
CREATE TABLE names (
    id   INTEGER PRIMARY KEY,
    name ANY NOT NULL UNIQUE
        CHECK (typeof(name) = 'text' OR (typeof(name) = 'blob' AND length(name) = 16))
) STRICT;

-- One row per event. Together with its names it is the envelope that
-- `ledger_core::Record::envelope` documents; nothing that can be derived is here.
CREATE TABLE events (
    -- From 1, without a gap, in the order of the commits.
    position       INTEGER PRIMARY KEY,
    stream         INTEGER NOT NULL,
    -- From 1, without a gap, within the stream.
    version        INTEGER NOT NULL,
    event_id       BLOB    NOT NULL CHECK (length(event_id) = 16),
    type           INTEGER NOT NULL,
    -- Microseconds since 1970; never falls.
    recorded_at    INTEGER NOT NULL,
    -- recorded_at - occurred_at, in microseconds: most often 0, which takes no byte.
    lag            INTEGER NOT NULL,
    actor_kind     INTEGER NOT NULL,
    actor          INTEGER NOT NULL,
    -- The number of an id.
    correlation    INTEGER,
    causation_id   BLOB CHECK (length(causation_id) = 16),
    -- Stays when the annex is erased.
    annex_digest   BLOB CHECK (length(annex_digest) = 32),
    -- Of the first event of a write: the first bytes of the digest over what the
    -- client gave, and how many events it is. The id of the request is not stored:
    -- the id of its first event is derived from it.
    given          BLOB CHECK (length(given) = 8),
    events         INTEGER CHECK (events > 0),
    payload        BLOB    NOT NULL,
    CHECK ((given IS NULL) = (events IS NULL))
) STRICT;
CREATE UNIQUE INDEX events_stream ON events (stream, version);
CREATE UNIQUE INDEX events_id ON events (event_id);

-- The part of an event that can be erased.
CREATE TABLE annexes (
    position INTEGER PRIMARY KEY,
    salt     BLOB NOT NULL CHECK (length(salt) = 16),
    bytes    BLOB NOT NULL
) STRICT;

-- Annexes that were erased, each by an AnnexErased.
CREATE TABLE erasures (
    -- Whose annex.
    position INTEGER PRIMARY KEY,
    -- The event that ordered it.
    ordered  INTEGER NOT NULL
) STRICT;

-- The full tiles of the tree: 256 hashes of one level each. A leaf hash stands
-- here and nowhere else; those of the last, not yet full tile are computed.
CREATE TABLE tiles (
    level  INTEGER NOT NULL,
    idx    INTEGER NOT NULL,
    hashes BLOB    NOT NULL CHECK (length(hashes) = 8192)
) STRICT;
CREATE UNIQUE INDEX tiles_place ON tiles (level, idx);

-- The checkpoints that servers signed.
CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY,
    note TEXT NOT NULL
) STRICT;

-- Pieces of the output of deployments.
CREATE TABLE outputs (
    -- From 1, without a gap, in the order of the commits.
    cursor     INTEGER PRIMARY KEY,
    deployment BLOB    NOT NULL CHECK (length(deployment) = 16),
    -- How many bytes of the deployment's output came before.
    start      INTEGER NOT NULL,
    -- How many bytes stand here, beside the place in the index.
    length     INTEGER NOT NULL CHECK (length > 0),
    stored_at  INTEGER NOT NULL,
    bytes      BLOB    NOT NULL CHECK (length(bytes) = length)
) STRICT;
CREATE UNIQUE INDEX outputs_deployment ON outputs (deployment, start, length);

CREATE TRIGGER names_guard BEFORE INSERT ON names BEGIN
    SELECT RAISE(ABORT, 'names: the id must be the last one + 1')
    WHERE NEW.id <> (SELECT coalesce(max(id), 0) + 1 FROM names);
    SELECT RAISE(ABORT, 'names: the name is there already')
    WHERE EXISTS (SELECT 1 FROM names WHERE name = NEW.name);
END;
CREATE TRIGGER names_no_update BEFORE UPDATE ON names BEGIN
    SELECT RAISE(ABORT, 'names is append-only');
END;
CREATE TRIGGER names_no_delete BEFORE DELETE ON names BEGIN
    SELECT RAISE(ABORT, 'names is append-only');
END;

CREATE TRIGGER events_guard BEFORE INSERT ON events BEGIN
    SELECT RAISE(ABORT, 'events: the position must be the head + 1')
    WHERE NEW.position <> (SELECT coalesce(max(position), 0) + 1 FROM events);
    SELECT RAISE(ABORT, 'events: the version must be the last one of the stream + 1')
    WHERE NEW.version <> (SELECT coalesce(max(version), 0) + 1 FROM events WHERE stream = NEW.stream);
    SELECT RAISE(ABORT, 'events: the event id is there already')
    WHERE EXISTS (SELECT 1 FROM events WHERE event_id = NEW.event_id);
    SELECT RAISE(ABORT, 'events: recorded_at must not fall')
    WHERE NEW.recorded_at < (SELECT recorded_at FROM events WHERE position = NEW.position - 1);
END;
CREATE TRIGGER events_no_update BEFORE UPDATE ON events BEGIN
    SELECT RAISE(ABORT, 'events is append-only');
END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN
    SELECT RAISE(ABORT, 'events is append-only');
END;

CREATE TRIGGER annexes_guard BEFORE INSERT ON annexes BEGIN
    SELECT RAISE(ABORT, 'annexes: the position must follow the last one')
    WHERE NEW.position <= (SELECT max(position) FROM annexes);
    SELECT RAISE(ABORT, 'annexes: the event has no annex')
    WHERE NOT EXISTS (
        SELECT 1 FROM events WHERE position = NEW.position AND annex_digest IS NOT NULL
    );
END;
CREATE TRIGGER annexes_no_update BEFORE UPDATE ON annexes BEGIN
    SELECT RAISE(ABORT, 'annexes is append-only');
END;
CREATE TRIGGER annexes_no_delete BEFORE DELETE ON annexes BEGIN
    SELECT RAISE(ABORT, 'annexes is append-only; ledger erase removes one')
    WHERE NOT EXISTS (SELECT 1 FROM erasures WHERE position = OLD.position);
END;

CREATE TRIGGER erasures_guard BEFORE INSERT ON erasures BEGIN
    SELECT RAISE(ABORT, 'erasures: the annex was erased before')
    WHERE EXISTS (SELECT 1 FROM erasures WHERE position = NEW.position);
    SELECT RAISE(ABORT, 'erasures: no such event orders it')
    WHERE NOT EXISTS (
        SELECT 1 FROM events e JOIN names t ON t.id = e.type
        WHERE e.position = NEW.ordered AND t.name = 'AnnexErased'
          AND e.payload = CAST('{"position":' || NEW.position || '}' AS BLOB)
    );
END;
CREATE TRIGGER erasures_no_update BEFORE UPDATE ON erasures BEGIN
    SELECT RAISE(ABORT, 'erasures is append-only');
END;
CREATE TRIGGER erasures_no_delete BEFORE DELETE ON erasures BEGIN
    SELECT RAISE(ABORT, 'erasures is append-only');
END;

CREATE TRIGGER tiles_guard BEFORE INSERT ON tiles BEGIN
    SELECT RAISE(ABORT, 'tiles: the tile must follow the last one of its level')
    WHERE NEW.idx <> coalesce((SELECT max(idx) + 1 FROM tiles WHERE level = NEW.level), 0);
    SELECT RAISE(ABORT, 'tiles: the row is there already')
    WHERE EXISTS (SELECT 1 FROM tiles WHERE rowid = NEW.rowid);
    SELECT RAISE(ABORT, 'tiles: what it stands on is not there')
    WHERE CASE NEW.level
        WHEN 0 THEN 256 * (NEW.idx + 1) > (SELECT coalesce(max(position), 0) FROM events)
        ELSE NOT EXISTS (
            SELECT 1 FROM tiles WHERE level = NEW.level - 1 AND idx = 256 * NEW.idx + 255
        )
    END;
END;
CREATE TRIGGER tiles_no_update BEFORE UPDATE ON tiles BEGIN
    SELECT RAISE(ABORT, 'tiles is append-only');
END;
CREATE TRIGGER tiles_no_delete BEFORE DELETE ON tiles BEGIN
    SELECT RAISE(ABORT, 'tiles is append-only');
END;

CREATE TRIGGER checkpoints_guard BEFORE INSERT ON checkpoints BEGIN
    SELECT RAISE(ABORT, 'checkpoints: the size must grow')
    WHERE NEW.size <= (SELECT max(size) FROM checkpoints);
    SELECT RAISE(ABORT, 'checkpoints: the log is not that long')
    WHERE NEW.size < 1 OR NEW.size > (SELECT coalesce(max(position), 0) FROM events);
END;
CREATE TRIGGER checkpoints_no_update BEFORE UPDATE ON checkpoints BEGIN
    SELECT RAISE(ABORT, 'checkpoints is append-only');
END;
CREATE TRIGGER checkpoints_no_delete BEFORE DELETE ON checkpoints BEGIN
    SELECT RAISE(ABORT, 'checkpoints is append-only');
END;

CREATE TRIGGER outputs_guard BEFORE INSERT ON outputs BEGIN
    SELECT RAISE(ABORT, 'outputs: the cursor must be the last one + 1')
    WHERE NEW.cursor <> (SELECT coalesce(max(cursor), 0) + 1 FROM outputs);
    SELECT RAISE(ABORT, 'outputs: the piece must continue what is stored')
    WHERE NEW.start <> coalesce(
        (SELECT start + length FROM outputs WHERE deployment = NEW.deployment
         ORDER BY start DESC LIMIT 1), 0);
END;
CREATE TRIGGER outputs_no_update BEFORE UPDATE ON outputs BEGIN
    SELECT RAISE(ABORT, 'outputs is append-only');
END;
CREATE TRIGGER outputs_no_delete BEFORE DELETE ON outputs BEGIN
    SELECT RAISE(ABORT, 'outputs is append-only');
END;
