-- Guards, for whoever may do more than call the functions: ENABLE ALWAYS, so that
-- session_replication_role does not switch them off, and on every partition, for a
-- statement may name one.
--
-- Those on inserts look at a whole statement at once, after it: one look
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
        RAISE EXCEPTION 'events: the event id is there already' USING ERRCODE = 'LG002';
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
