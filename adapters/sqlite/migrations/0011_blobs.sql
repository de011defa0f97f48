-- Large values of events and files of participants, beside the log (application/blob_store.py).

-- Without content: it is kept outside, in a folder or an object store. Rows this large are better off in a table with row ids.
CREATE TABLE blobs (
    partition     INTEGER NOT NULL CHECK (partition >= 0),
    orchestration BLOB    NOT NULL CHECK (length(orchestration) = 16),
    digest        BLOB    NOT NULL CHECK (length(digest) = 32),
    media_type    TEXT    NOT NULL,
    size          INTEGER NOT NULL CHECK (size >= 0),
    loose_since   INTEGER,
    content       BLOB,
    PRIMARY KEY (partition, orchestration, digest)
) STRICT;
CREATE INDEX blobs_by_digest ON blobs (partition, digest);
CREATE INDEX blobs_loose ON blobs (partition, loose_since) WHERE loose_since IS NOT NULL;
