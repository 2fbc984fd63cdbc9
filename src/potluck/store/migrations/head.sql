CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));

CREATE TABLE batch_answers (
	batch TEXT NOT NULL,
	line BIGINT NOT NULL,
	request TEXT NOT NULL,
	status INTEGER NOT NULL,
	tokens_in BIGINT NOT NULL,
	tokens_out BIGINT NOT NULL,
	body TEXT NOT NULL,
	PRIMARY KEY (batch, line)
);

CREATE TABLE batch_lines (
	batch TEXT NOT NULL,
	line BIGINT NOT NULL,
	custom_id TEXT NOT NULL,
	start BIGINT NOT NULL,
	size BIGINT NOT NULL,
	worker TEXT NOT NULL,
	until DOUBLE NOT NULL,
	done INTEGER NOT NULL,
	tries INTEGER NOT NULL,
	PRIMARY KEY (batch, line)
);

CREATE UNIQUE INDEX batch_lines_ids ON batch_lines (batch, custom_id);

CREATE INDEX batch_lines_open ON batch_lines (batch, done, until);

CREATE TABLE batches (
	id TEXT NOT NULL,
	tenant TEXT NOT NULL,
	at DOUBLE NOT NULL,
	status TEXT NOT NULL,
	endpoint TEXT NOT NULL,
	input TEXT NOT NULL,
	completion_window TEXT NOT NULL,
	metadata TEXT NOT NULL,
	model TEXT NOT NULL,
	deadline DOUBLE NOT NULL,
	errors TEXT NOT NULL,
	output TEXT NOT NULL,
	failures TEXT NOT NULL,
	started DOUBLE NOT NULL,
	finalizing DOUBLE NOT NULL,
	completed DOUBLE NOT NULL,
	failed DOUBLE NOT NULL,
	expired DOUBLE NOT NULL,
	cancelling DOUBLE NOT NULL,
	cancelled DOUBLE NOT NULL,
	tokens_in BIGINT NOT NULL,
	tokens_out BIGINT NOT NULL,
	output_lasts DOUBLE NOT NULL,
	worker TEXT NOT NULL,
	until DOUBLE NOT NULL,
	PRIMARY KEY (id)
);

CREATE INDEX batches_status ON batches (status);

CREATE INDEX batches_tenant ON batches (tenant, at);

CREATE TABLE checks (
	day TEXT NOT NULL,
	technique TEXT NOT NULL,
	asked BIGINT NOT NULL,
	agreed BIGINT NOT NULL,
	PRIMARY KEY (day, technique)
);

CREATE TABLE client_keys (
	id TEXT NOT NULL,
	name TEXT NOT NULL,
	hash TEXT NOT NULL,
	prefix TEXT NOT NULL,
	created_at DOUBLE NOT NULL,
	revoked_at DOUBLE,
	limits TEXT NOT NULL,
	revision BIGINT NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (hash),
	UNIQUE (revision)
);

CREATE TABLE counters (
	worker TEXT NOT NULL,
	name TEXT NOT NULL,
	labels TEXT NOT NULL,
	value DOUBLE NOT NULL,
	PRIMARY KEY (worker, name, labels)
);

CREATE TABLE files (
	id TEXT NOT NULL,
	tenant TEXT NOT NULL,
	at DOUBLE NOT NULL,
	name TEXT NOT NULL,
	purpose TEXT NOT NULL,
	size BIGINT NOT NULL,
	expires DOUBLE NOT NULL,
	PRIMARY KEY (id)
);

CREATE INDEX files_tenant ON files (tenant, at);

CREATE TABLE requests (
	id TEXT NOT NULL,
	at DOUBLE NOT NULL,
	tenant TEXT NOT NULL,
	wish TEXT NOT NULL,
	target TEXT NOT NULL,
	outcome TEXT NOT NULL,
	status INTEGER NOT NULL,
	attempts TEXT NOT NULL,
	tokens_in BIGINT NOT NULL,
	tokens_out BIGINT NOT NULL,
	estimated INTEGER NOT NULL,
	cost BIGINT NOT NULL,
	ms_first DOUBLE NOT NULL,
	ms DOUBLE NOT NULL,
	surface TEXT NOT NULL,
	prompt TEXT,
	answer TEXT,
	PRIMARY KEY (id)
);

CREATE INDEX requests_at ON requests (at);

CREATE TABLE responses (
	id TEXT NOT NULL,
	tenant TEXT NOT NULL,
	at DOUBLE NOT NULL,
	previous TEXT NOT NULL,
	items TEXT NOT NULL,
	answer TEXT NOT NULL,
	PRIMARY KEY (id)
);

CREATE INDEX responses_at ON responses (at);

CREATE TABLE savings (
	day TEXT NOT NULL,
	technique TEXT NOT NULL,
	target TEXT NOT NULL,
	times BIGINT NOT NULL,
	requests BIGINT NOT NULL,
	tokens_in BIGINT NOT NULL,
	tokens_out BIGINT NOT NULL,
	PRIMARY KEY (day, technique, target)
);

INSERT INTO alembic_version (version_num) VALUES ('0004');
