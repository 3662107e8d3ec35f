-- The append-only log: events, what may be erased of them, the tree over them,
-- the checkpoints that were signed, and the output of deployments.
--
-- The tables mean what those of the same names mean on SQLite. A server's role is
-- granted `ledger_service`: it reads, and it appends through two functions,
-- `lock` and `append`. Triggers hold everybody else to the same rules, the owner and a superuser
-- included: ENABLE ALWAYS, so that session_replication_role does not switch them
-- off, and on every partition, for a statement may name one.

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

-- Guards. Those on inserts look at a whole statement at once, after it: one look
-- for each batch, not for each row. That they go by the indexes is a setting of the
-- session that writes: each setting of a function costs as much as a small query.
-- The search_path is set all the same, so that no session can slip other operators in.

CREATE FUNCTION ledger.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME;
END
$$;

CREATE FUNCTION ledger.guard_head() RETURNS trigger LANGUAGE plpgsql
SET search_path = ledger, pg_temp AS $$
BEGIN
    IF NEW.position < OLD.position OR NEW.output < OLD.output OR NEW.signed < OLD.signed
        OR NEW.recorded_at < OLD.recorded_at OR NEW.names < OLD.names OR NEW.room < OLD.room
    THEN
        RAISE EXCEPTION 'head: nothing in it may fall';
    END IF;
    IF NEW.position <> OLD.position AND (
        NOT EXISTS (SELECT FROM events WHERE position = NEW.position)
        OR EXISTS (SELECT FROM events WHERE position = NEW.position + 1)
    ) THEN
        RAISE EXCEPTION 'head: the newest event is another one';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION ledger.guard_names() RETURNS trigger LANGUAGE plpgsql
SET search_path = ledger, pg_temp AS $$
DECLARE
    n record;
BEGIN
    SELECT min(id) AS first, max(id) AS last, count(*) AS count INTO n FROM added;
    IF n.count > 0 AND (
        n.last - n.first + 1 <> n.count
        OR (n.first <> 1 AND NOT EXISTS (SELECT FROM names WHERE id = n.first - 1))
    ) THEN
        RAISE EXCEPTION 'names: the id must be the last one + 1';
    END IF;
    RETURN NULL;
END
$$;

-- That a position is not taken is the primary key's to say. Without a gap so far,
-- the one before it being there makes it the head + 1.
CREATE FUNCTION ledger.guard_events() RETURNS trigger LANGUAGE plpgsql
SET search_path = ledger, pg_temp AS $$
DECLARE
    n record;
    before bigint;
BEGIN
    SELECT min(position) AS first, max(position) AS last, count(*) AS count,
        min(recorded_at) AS earliest, max(recorded_at) AS latest INTO n FROM added;
    IF n.count = 0 THEN
        RETURN NULL;
    END IF;
    SELECT recorded_at INTO before FROM events WHERE position = n.first - 1;
    IF n.last - n.first + 1 <> n.count OR (NOT FOUND AND n.first <> 1) THEN
        RAISE EXCEPTION 'events: the position must be the head + 1';
    END IF;
    IF n.earliest < before OR (n.earliest < n.latest AND EXISTS (
        SELECT FROM (
            SELECT recorded_at, lag(recorded_at) OVER (ORDER BY position) AS previous FROM added
        ) pairs WHERE recorded_at < previous
    )) THEN
        RAISE EXCEPTION 'events: recorded_at must not fall';
    END IF;
    -- Its place less how many of its stream come up to it in this statement is the
    -- place of the stream's last event before.
    IF EXISTS (
        SELECT FROM (
            SELECT stream, min(rest) AS least, max(rest) AS most FROM (
                SELECT place >> 33 AS stream, place - row_number()
                    OVER (PARTITION BY place >> 33 ORDER BY position) AS rest FROM added
            ) numbered GROUP BY stream
        ) s WHERE s.least <> s.most OR s.least <> coalesce((
            SELECT e.place FROM events e
            WHERE e.place > s.stream << 33 AND e.place < (s.stream + 1) << 33
                AND e.position < n.first
            ORDER BY e.place DESC LIMIT 1
        ), s.stream << 33)
    ) THEN
        RAISE EXCEPTION 'events: the version must be the last one of the stream + 1';
    END IF;
    IF EXISTS (
        SELECT FROM added a
        JOIN events e ON id_key(e.event_id) = id_key(a.event_id) AND e.event_id = a.event_id
        WHERE e.position <> a.position
    ) THEN
        RAISE EXCEPTION 'events: the event id is there already';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION ledger.guard_annexes() RETURNS trigger LANGUAGE plpgsql
SET search_path = ledger, pg_temp AS $$
BEGIN
    IF (SELECT count(*) FROM added) <> (
        SELECT count(*) FROM annexes WHERE position >= (SELECT min(position) FROM added)
    ) THEN
        RAISE EXCEPTION 'annexes: the position must follow the last one';
    END IF;
    IF EXISTS (
        SELECT FROM added a WHERE NOT EXISTS (
            SELECT FROM events e WHERE e.position = a.position AND e.annex_digest IS NOT NULL
        )
    ) THEN
        RAISE EXCEPTION 'annexes: the event has no annex';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION ledger.guard_erased_annex() RETURNS trigger LANGUAGE plpgsql
SET search_path = ledger, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM erasures WHERE position = OLD.position) THEN
        RAISE EXCEPTION 'annexes is append-only; ledger erase removes one';
    END IF;
    RETURN OLD;
END
$$;

CREATE FUNCTION ledger.guard_erasures() RETURNS trigger LANGUAGE plpgsql
SET search_path = ledger, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM events e JOIN names t ON t.id = e.type
        WHERE e.position = NEW.ordered AND t.name = 'AnnexErased'
            AND e.payload = convert_to('{"position":' || NEW.position || '}', 'UTF8')
    ) THEN
        RAISE EXCEPTION 'erasures: no such event orders it';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION ledger.guard_tiles() RETURNS trigger LANGUAGE plpgsql
SET search_path = ledger, pg_temp AS $$
BEGIN
    IF NEW.idx <> coalesce((SELECT max(idx) + 1 FROM tiles WHERE level = NEW.level), 0) THEN
        RAISE EXCEPTION 'tiles: the tile must follow the last one of its level';
    END IF;
    IF (NEW.level = 0 AND NOT EXISTS (SELECT FROM events WHERE position = 256 * (NEW.idx + 1)))
        OR (NEW.level <> 0 AND NOT EXISTS (
            SELECT FROM tiles WHERE level = NEW.level - 1 AND idx = 256 * NEW.idx + 255
        ))
    THEN
        RAISE EXCEPTION 'tiles: what it stands on is not there';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION ledger.guard_checkpoints() RETURNS trigger LANGUAGE plpgsql
SET search_path = ledger, pg_temp AS $$
BEGIN
    IF NEW.size <= (SELECT max(size) FROM checkpoints) THEN
        RAISE EXCEPTION 'checkpoints: the size must grow';
    END IF;
    IF NOT EXISTS (SELECT FROM events WHERE position = NEW.size) THEN
        RAISE EXCEPTION 'checkpoints: the log is not that long';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION ledger.guard_outputs() RETURNS trigger LANGUAGE plpgsql
SET search_path = ledger, pg_temp AS $$
DECLARE
    n record;
BEGIN
    SELECT min(cursor) AS first, max(cursor) AS last, count(*) AS count INTO n FROM added;
    IF n.count = 0 THEN
        RETURN NULL;
    END IF;
    IF n.last - n.first + 1 <> n.count
        OR (n.first <> 1 AND NOT EXISTS (SELECT FROM outputs WHERE cursor = n.first - 1))
    THEN
        RAISE EXCEPTION 'outputs: the cursor must be the last one + 1';
    END IF;
    IF EXISTS (
        SELECT FROM (
            SELECT deployment, min(rest) AS least, max(rest) AS most FROM (
                SELECT deployment, start + octet_length(bytes)
                    - sum(octet_length(bytes)) OVER (PARTITION BY deployment ORDER BY cursor)
                    AS rest FROM added
            ) summed GROUP BY deployment
        ) d WHERE d.least <> d.most OR d.least <> coalesce((
            SELECT o.start + octet_length(o.bytes) FROM outputs o
            WHERE o.deployment = d.deployment AND o.cursor < n.first
            ORDER BY o.cursor DESC LIMIT 1
        ), 0)
    ) THEN
        RAISE EXCEPTION 'outputs: the piece must continue what is stored';
    END IF;
    RETURN NULL;
END
$$;

-- Lets a trigger fire whatever session_replication_role is.
CREATE FUNCTION ledger.add_guard(target regclass, guard text, event text) RETURNS void
LANGUAGE plpgsql SET search_path = ledger, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER %I %s', guard, format(event, target));
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', target, guard);
END
$$;

-- What holds for the events, a partition of them named by itself included.
CREATE FUNCTION ledger.add_events_guards(target regclass) RETURNS void
LANGUAGE plpgsql SET search_path = ledger, pg_temp AS $$
BEGIN
    PERFORM add_guard(target, 'guard', 'AFTER INSERT ON %s REFERENCING NEW TABLE AS added '
        'FOR EACH STATEMENT EXECUTE FUNCTION ledger.guard_events()');
    PERFORM add_guard(target, 'no_truncate',
        'BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse()');
END
$$;

-- Makes room for the next positions. Attached, not created in place: that needs no
-- lock that readers would wait for.
CREATE FUNCTION ledger.add_partition() RETURNS void
LANGUAGE plpgsql SET search_path = ledger, pg_temp AS $$
DECLARE
    h head;
    partition regclass;
    name text;
BEGIN
    SELECT * INTO h FROM head WHERE id = 1 FOR UPDATE;
    name := 'events_' || h.room;
    EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.events INCLUDING DEFAULTS '
        'INCLUDING CONSTRAINTS INCLUDING STORAGE)', name);
    partition := format('ledger.%I', name)::regclass;
    -- Positions only ever grow, so no page of this index needs room for more.
    EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (position) WITH (fillfactor = 100)', partition);
    EXECUTE format('CREATE UNIQUE INDEX ON %s (place)', partition);
    EXECUTE format('CREATE INDEX ON %s (ledger.id_key(event_id))', partition);
    EXECUTE format('ALTER TABLE ledger.events ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)',
        partition, h.room, h.room + h.width);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', partition);
    PERFORM add_events_guards(partition);
    UPDATE head SET room = h.room + h.width WHERE id = 1;
END
$$;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['events', 'names', 'erasures', 'tiles', 'checkpoints', 'outputs'] LOOP
        PERFORM ledger.add_guard(('ledger.' || t)::regclass, 'append_only',
            'BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION ledger.refuse()');
    END LOOP;
    FOREACH t IN ARRAY ARRAY['head', 'names', 'annexes', 'erasures', 'tiles', 'checkpoints', 'outputs'] LOOP
        PERFORM ledger.add_guard(('ledger.' || t)::regclass, 'no_truncate',
            'BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse()');
    END LOOP;
    FOREACH t IN ARRAY ARRAY['names', 'annexes', 'outputs'] LOOP
        PERFORM ledger.add_guard(('ledger.' || t)::regclass, 'guard',
            'AFTER INSERT ON %s REFERENCING NEW TABLE AS added '
            'FOR EACH STATEMENT EXECUTE FUNCTION ledger.guard_' || t || '()');
    END LOOP;
    FOREACH t IN ARRAY ARRAY['erasures', 'tiles', 'checkpoints'] LOOP
        PERFORM ledger.add_guard(('ledger.' || t)::regclass, 'guard',
            'BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION ledger.guard_' || t || '()');
    END LOOP;
    PERFORM ledger.add_events_guards('ledger.events');
    PERFORM ledger.add_guard('ledger.head', 'guard',
        'BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION ledger.guard_head()');
    PERFORM ledger.add_guard('ledger.head', 'one_row',
        'BEFORE INSERT OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION ledger.refuse()');
    PERFORM ledger.add_guard('ledger.annexes', 'no_update',
        'BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION ledger.refuse()');
    PERFORM ledger.add_guard('ledger.annexes', 'only_erased',
        'BEFORE DELETE ON %s FOR EACH ROW EXECUTE FUNCTION ledger.guard_erased_annex()');
END
$$;

-- Takes the lock that appends take, and tells where the log ends, what the clock
-- says in microseconds, and which of the requests wrote something: the events with
-- these ids, each the first of its request.
CREATE FUNCTION ledger.lock(firsts uuid[])
RETURNS TABLE ("position" bigint, output bigint, signed bigint, clock bigint,
    event_id uuid, first bigint, given bytea, events integer)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = ledger, pg_temp AS $$
#variable_conflict use_column
BEGIN
    -- A statement by itself: what the next one sees is from after the lock.
    PERFORM FROM head WHERE id = 1 FOR UPDATE;
    RETURN QUERY
    SELECT h.position, h.output, h.signed,
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
        e.event_id, e.position, e.given, e.events
    FROM head h LEFT JOIN (
        unnest(firsts) f (id)
        JOIN events e ON id_key(e.event_id) = id_key(f.id) AND e.event_id = f.id
    ) ON true WHERE h.id = 1;
END
$$;

-- Appends a batch behind the given ends, or refuses it when the log ends somewhere
-- else: what it was judged from is no longer so. Of the output and the checkpoints,
-- only those of the batch depend on where these end.
--
-- A stream, type or actor is the number of its name or, below 0, its place in the
-- list of names; the numbers of those are returned.
CREATE FUNCTION ledger.append(
    behind bigint, recorded bigint[], versions bigint[], lags bigint[],
    streams integer[], types integer[], actors integer[], counts integer[],
    kinds smallint[], ids uuid[], correlations uuid[], causations uuid[],
    givens bytea[], digests bytea[], payloads bytea[],
    new_names text[],
    annex_positions bigint[], annex_salts bytea[], annex_bytes bytea[],
    tile_levels smallint[], tile_indexes bigint[], tile_hashes bytea[],
    erased bigint[], ordered bigint[],
    behind_output bigint, starts bigint[], stored bigint[], deployments uuid[], pieces bytea[],
    behind_signed bigint, sizes bigint[], notes text[]
) RETURNS integer[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = ledger, pg_temp AS $$
DECLARE
    h head;
    last bigint := behind + cardinality(ids);
    n_names integer := 0;
    numbers integer[];
BEGIN
    SELECT * INTO h FROM head WHERE id = 1 FOR UPDATE;
    IF behind <> h.position OR (behind_output <> h.output AND cardinality(starts) > 0)
        OR (behind_signed <> h.signed AND cardinality(sizes) > 0)
    THEN
        RAISE EXCEPTION 'the log ends at %, its output at %, its checkpoints at %, not at %, % and %',
            h.position, h.output, h.signed, behind, behind_output, behind_signed
            USING ERRCODE = 'LG001';
    END IF;
    IF cardinality(new_names) > 0 THEN
        INSERT INTO names (id, name)
        SELECT h.names + row_number() OVER (ORDER BY u.o), u.name
        FROM unnest(new_names) WITH ORDINALITY u (name, o)
        WHERE NOT EXISTS (SELECT FROM names n WHERE n.name = u.name);
        GET DIAGNOSTICS n_names = ROW_COUNT;
        numbers := ARRAY(
            SELECT n.id FROM unnest(new_names) WITH ORDINALITY u (name, o)
            JOIN names n ON n.name = u.name ORDER BY u.o
        );
    END IF;
    IF last > behind THEN
        -- The next one is made when this one is full to four fifths.
        WHILE last > h.room - h.width / 5 LOOP
            PERFORM add_partition();
            h.room := h.room + h.width;
        END LOOP;
        INSERT INTO events (position, recorded_at, place, lag, type, actor, events, actor_kind,
            event_id, correlation_id, causation_id, given, annex_digest, payload)
        SELECT behind + o, u.recorded,
            (CASE WHEN stream > 0 THEN stream ELSE numbers[-stream] END::bigint << 33) + u.version,
            nullif(u.lag, 0),
            CASE WHEN type > 0 THEN type ELSE numbers[-type] END,
            CASE WHEN actor > 0 THEN actor ELSE numbers[-actor] END,
            nullif(u.count, 1), u.kind, u.id, u.correlation, u.causation, u.given, u.digest, u.payload
        FROM unnest(recorded, versions, lags, streams, types, actors, counts, kinds, ids,
            correlations, causations, givens, digests, payloads)
            WITH ORDINALITY u (recorded, version, lag, stream, type, actor, count, kind, id,
            correlation, causation, given, digest, payload, o);
    END IF;
    IF cardinality(annex_positions) > 0 THEN
        INSERT INTO annexes (position, salt, bytes)
        SELECT * FROM unnest(annex_positions, annex_salts, annex_bytes);
    END IF;
    IF cardinality(tile_levels) > 0 THEN
        INSERT INTO tiles (level, idx, hashes)
        SELECT * FROM unnest(tile_levels, tile_indexes, tile_hashes);
    END IF;
    IF cardinality(erased) > 0 THEN
        INSERT INTO erasures (position, ordered) SELECT * FROM unnest(erased, ordered);
        DELETE FROM annexes WHERE position = ANY (erased);
    END IF;
    IF cardinality(starts) > 0 THEN
        INSERT INTO outputs (cursor, start, stored_at, deployment, bytes)
        SELECT behind_output + u.o, u.start, u.stored, u.deployment, u.piece
        FROM unnest(starts, stored, deployments, pieces)
            WITH ORDINALITY u (start, stored, deployment, piece, o);
    END IF;
    IF cardinality(sizes) > 0 THEN
        INSERT INTO checkpoints (size, note) SELECT * FROM unnest(sizes, notes);
    END IF;
    UPDATE head SET position = last, output = h.output + cardinality(starts),
        names = h.names + n_names,
        signed = greatest(signed, (SELECT max(s) FROM unnest(sizes) s)),
        recorded_at = greatest(recorded_at, recorded[cardinality(recorded)])
    WHERE id = 1;
    RETURN numbers;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
-- Everybody may know which schema it is, and so be told what is missing.
GRANT USAGE ON SCHEMA ledger TO PUBLIC;
GRANT SELECT ON ledger.migrations TO PUBLIC;
GRANT SELECT ON ledger.head, ledger.names, ledger.events, ledger.annexes,
    ledger.erasures, ledger.tiles, ledger.checkpoints, ledger.outputs TO ledger_service;
GRANT EXECUTE ON FUNCTION ledger.id_key, ledger.lock, ledger.append TO ledger_service;
