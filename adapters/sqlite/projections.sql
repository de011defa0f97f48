-- The tables of users' projections. Names in braces are put in by adapters/sql/projection_tables.py, checked and quoted.
-- An instant is a text in RFC 3339, UTC, to the microsecond, which SQLite's date functions read; JSON is a text.

-- name: create_table
CREATE TABLE {table} (
    partition INTEGER NOT NULL,
    {key} TEXT NOT NULL,
    {columns},
    PRIMARY KEY (partition, {key})
) STRICT;

-- name: drop_table
DROP TABLE IF EXISTS {table};

-- name: create_view
CREATE VIEW {view} AS SELECT {key}, {names} FROM {table};

-- name: drop_view
DROP VIEW IF EXISTS {view};

-- name: put
INSERT INTO {table} (partition, {key}, {names}) VALUES (?, ?, {values})
ON CONFLICT (partition, {key}) DO UPDATE SET {assignments};

-- name: drop
DELETE FROM {table} WHERE partition = ? AND {key} = ?;

-- name: rows
SELECT {key}, {names} FROM {table}
WHERE partition = :partition AND {key} IN (SELECT value FROM json_each(:keys));

-- name: page
SELECT partition, {key}, {names} FROM {table}
WHERE (partition, {key}) > (:after_partition, :after_key){filters}
ORDER BY partition, {key}
LIMIT :limit;

-- name: filter
 AND {name} = :value_{n}
