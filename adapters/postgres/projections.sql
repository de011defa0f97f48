-- The tables of users' projections. Names in braces are put in by adapters/sql/projection_tables.py, checked and quoted.
-- JSON keeps its text, so that numbers come back as they were.

-- name: create_table
CREATE TABLE {table} (
    partition smallint NOT NULL,
    {key} text COLLATE "C" NOT NULL,
    {columns},
    PRIMARY KEY (partition, {key})
);

-- name: drop_table
DROP TABLE IF EXISTS {table};

-- name: create_view
CREATE VIEW {view} AS SELECT {key}, {names} FROM {table};

-- name: drop_view
DROP VIEW IF EXISTS {view};

-- name: put
INSERT INTO {table} (partition, {key}, {names})
SELECT * FROM unnest(%b::smallint[], %b::text[], {values})
ON CONFLICT (partition, {key}) DO UPDATE SET {assignments};

-- name: drop
DELETE FROM {table} AS t USING unnest(%b::smallint[], %b::text[]) AS gone (partition, key)
WHERE t.partition = gone.partition AND t.{key} = gone.key;

-- name: rows
SELECT {key}, {read} FROM {table}
WHERE partition = %(partition)s AND {key} IN (SELECT json_array_elements_text(%(keys)s::json));

-- name: page
SELECT partition, {key}, {read} FROM {table}
WHERE (partition, {key}) > (%(after_partition)s, %(after_key)s){filters}
ORDER BY partition, {key}
LIMIT %(limit)s;

-- name: filter
 AND {name} = %(value_{n})s
