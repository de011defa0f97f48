-- Schedules: how far that of each definition has come (domain/schedule.py), changed by compare-and-set of the revision.

CREATE TABLE schedules (
    partition smallint         NOT NULL CHECK (partition >= 0),
    namespace text COLLATE "C" NOT NULL,
    name      text COLLATE "C" NOT NULL,
    revision  bigint           NOT NULL CHECK (revision > 0),
    course    bytea            NOT NULL,
    PRIMARY KEY (partition, namespace, name)
);
