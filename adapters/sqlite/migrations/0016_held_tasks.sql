-- Work of a suspended orchestration is not handed out until it is resumed.

ALTER TABLE tasks ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
DROP INDEX tasks_waiting;
CREATE INDEX tasks_waiting ON tasks (partition, function, definition, queued_at) WHERE status = 'waiting' AND held = 0;
