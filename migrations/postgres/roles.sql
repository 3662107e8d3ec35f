-- Who owns the log, who may use it, and the schema that it stands in. Runs before
-- every migration and changes nothing that is there. Roles belong to the whole
-- server, so another database may have made them, even at this moment.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['ledger_owner', 'ledger_service'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = role);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
    -- Whoever migrates acts as the owner for so long, and no longer.
    IF NOT pg_has_role(current_user, 'ledger_owner', 'MEMBER') THEN
        EXECUTE format('GRANT ledger_owner TO %I', current_user);
        PERFORM set_config('ledger.granted', 'yes', true);
    END IF;
END
$$;

CREATE SCHEMA IF NOT EXISTS ledger AUTHORIZATION ledger_owner;
