-- Several nodes on one database: who is there, and what they ask of each other.

CREATE TABLE nodes (
    node        text        NOT NULL PRIMARY KEY,
    host        text        NOT NULL,
    pid         integer     NOT NULL,
    process     text        NOT NULL,
    version     text        NOT NULL,
    started_at  timestamptz NOT NULL,
    eligible    boolean     NOT NULL,
    lease_until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- kept: the id comes from a client's key, and a repeat has to find the reply for a long time.
CREATE TABLE inbox (
    partition  smallint    NOT NULL,
    command_id text        NOT NULL,
    body       bytea       NOT NULL,
    reply      bytea,
    kept       boolean     NOT NULL,
    arrived_at timestamptz NOT NULL,
    PRIMARY KEY (partition, command_id)
) WITH (fillfactor = 50);
CREATE INDEX inbox_pending ON inbox (partition, arrived_at, command_id) WHERE reply IS NULL;
CREATE INDEX inbox_by_age ON inbox (partition, kept, arrived_at) WHERE reply IS NOT NULL;

-- Who wants a business key whose holder never began.
ALTER TABLE keys ADD COLUMN contender text;

-- All fences of a batch in one call: rows in the order given, each of them still what the writer believes, or nothing at all.
-- The error ends the transaction, so a batch needs no round trip between its fences and its commit.
CREATE FUNCTION fence(
    of_partitions smallint[], of_epochs bigint[], of_positions bigint[], until_positions bigint[], until_hashes bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. cardinality(of_partitions) LOOP
        UPDATE partitions SET head_position = until_positions[i], head_hash = until_hashes[i]
        WHERE partition = of_partitions[i] AND epoch = of_epochs[i] AND head_position = of_positions[i];
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the fence of partition % does not hold', of_partitions[i] USING ERRCODE = 'RT001';
        END IF;
    END LOOP;
END $$;
