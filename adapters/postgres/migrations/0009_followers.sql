-- Who follows the log beyond it, and up to which position of a partition that is done. Moved by compare-and-set.

CREATE TABLE followers (
    partition smallint         NOT NULL CHECK (partition >= 0),
    name      text COLLATE "C" NOT NULL,
    position  bigint           NOT NULL CHECK (position >= 0),
    PRIMARY KEY (partition, name)
);
