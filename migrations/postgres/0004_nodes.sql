-- The servers that share the log, and when each was last heard of. No part of the
-- log: what it proves, that a server lived, becomes an event when it has died.
CREATE TABLE ledger.nodes (
    id      uuid        PRIMARY KEY,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 10);

-- Gives a sign of life, and tells of the others: when each was last seen, and how
-- long ago that is, in microseconds.
CREATE FUNCTION ledger.beat(node uuid)
RETURNS TABLE (id uuid, seen_at bigint, silent bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger, pg_temp AS $$
#variable_conflict use_column
DECLARE
    now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO nodes AS n (id, seen_at) VALUES (node, now)
    ON CONFLICT (id) DO UPDATE SET seen_at = greatest(n.seen_at, excluded.seen_at);
    RETURN QUERY
    SELECT n.id, (extract(epoch FROM n.seen_at) * 1000000)::bigint,
        (extract(epoch FROM now - n.seen_at) * 1000000)::bigint
    FROM nodes n WHERE n.id <> node;
END
$$;

-- When a server was last seen, in microseconds; NULL if never.
CREATE FUNCTION ledger.last_seen(node uuid) RETURNS bigint
LANGUAGE sql SECURITY DEFINER STABLE SET search_path = ledger, pg_temp AS $$
    SELECT (extract(epoch FROM seen_at) * 1000000)::bigint FROM nodes WHERE id = node
$$;

REVOKE ALL ON FUNCTION ledger.beat, ledger.last_seen FROM PUBLIC;
GRANT SELECT ON ledger.nodes TO ledger_service;
GRANT EXECUTE ON FUNCTION ledger.beat, ledger.last_seen TO ledger_service;
