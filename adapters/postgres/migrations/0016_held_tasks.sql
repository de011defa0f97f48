-- Work of a suspended orchestration is not handed out until it is resumed.

ALTER TABLE tasks ADD COLUMN held boolean NOT NULL DEFAULT false;
DROP INDEX tasks_waiting;
CREATE INDEX tasks_waiting ON tasks (partition, function, definition, queued_at) WHERE status = 'waiting' AND NOT held;
