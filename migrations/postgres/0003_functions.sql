-- What a server may call, and what it may read.

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
-- Whoever did not look believes also that none of its requests wrote something. For
-- those of which the batch has events, the guard of the events sees to it; of the
-- others, the ids of their first events are `absent`.
--
-- `behind_id` is the event at the end, if the one who appends has read it: another
-- one there is another log.
--
-- A stream, type or actor is the number of its name or, below 0, its place in the
-- list of names. Returned is what the clock says, and behind it the numbers of those.
--
-- A query costs as much as a few events; an expression, or a condition that keeps a
-- query from being run, next to nothing.
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
    behind_signed bigint, sizes bigint[], notes text[],
    absent uuid[], behind_id uuid DEFAULT NULL
) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = ledger, pg_temp AS $$
DECLARE
    h head;
    last bigint := behind + cardinality(ids);
    used integer[] := streams || types || actors;
    n_names integer := 0;
    numbers integer[];
    newest bigint;
BEGIN
    SELECT * INTO h FROM head WHERE id = 1 FOR UPDATE;
    IF behind <> h.position OR (behind_output <> h.output AND cardinality(starts) > 0)
        OR (behind_signed <> h.signed AND cardinality(sizes) > 0)
    THEN
        RAISE EXCEPTION 'the log ends at %, its output at %, its checkpoints at %, not at %, % and %',
            h.position, h.output, h.signed, behind, behind_output, behind_signed
            USING ERRCODE = 'LG001';
    END IF;
    IF behind_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM events WHERE position = behind AND event_id = behind_id)
    THEN
        RAISE EXCEPTION 'the event at % is another one than %', behind, behind_id
            USING ERRCODE = 'LG003';
    END IF;
    -- What no server asks for, and what would stay for ever.
    IF cardinality(recorded) <> cardinality(ids) THEN
        RAISE EXCEPTION 'events: not every column has as many values';
    END IF;
    IF 0 = ANY (used) OR h.names < ANY (used) OR -cardinality(new_names) > ANY (used) THEN
        RAISE EXCEPTION 'names: a number names nothing';
    END IF;
    IF behind >= ANY (annex_positions) THEN
        RAISE EXCEPTION 'annexes: an annex comes with its event';
    END IF;
    -- Microseconds of the last moment that is a time.
    IF recorded[cardinality(recorded)] > 253402300799999999 THEN
        RAISE EXCEPTION 'events: recorded_at lies behind the year 9999';
    END IF;
    IF cardinality(absent) > 0 THEN
        IF EXISTS (
            SELECT FROM unnest(absent) a (id)
            JOIN events e ON id_key(e.event_id) = id_key(a.id) AND e.event_id = a.id
        ) THEN
            RAISE EXCEPTION 'events: a request of the batch wrote something before'
                USING ERRCODE = 'LG002';
        END IF;
    END IF;
    IF cardinality(new_names) > 0 THEN
        IF (SELECT count(DISTINCT n) FROM unnest(used) n WHERE n < 0) <> cardinality(new_names)
        THEN
            RAISE EXCEPTION 'names: a name is for no event';
        END IF;
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
        SELECT max(s) INTO newest FROM unnest(sizes) s;
    END IF;
    UPDATE head SET position = last, output = h.output + cardinality(starts),
        names = h.names + n_names,
        signed = greatest(signed, newest),
        recorded_at = greatest(recorded_at, recorded[cardinality(recorded)])
    WHERE id = 1;
    RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint || numbers::bigint[];
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
-- Everybody may know which schema it is, and so be told what is missing.
GRANT USAGE ON SCHEMA ledger TO PUBLIC;
GRANT SELECT ON ledger.migrations TO PUBLIC;
GRANT SELECT ON ledger.head, ledger.names, ledger.events, ledger.annexes,
    ledger.erasures, ledger.tiles, ledger.checkpoints, ledger.outputs TO ledger_service;
GRANT EXECUTE ON FUNCTION ledger.id_key, ledger.lock, ledger.append TO ledger_service;
