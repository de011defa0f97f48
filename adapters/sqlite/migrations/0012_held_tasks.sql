-- Work of a suspended orchestration is held: not handed out until it is resumed. An attempt that a process may have begun before
-- it became work for workers is not unsent, even if none of them has claimed it.

ALTER TABLE tasks ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
DROP INDEX tasks_waiting;
CREATE INDEX tasks_waiting ON tasks (partition, function, definition, queued_at) WHERE status = 'waiting' AND held = 0;
