// Package integrity makes the log tamper-evident: a Merkle tree over the events (RFC 6962), stored as C2SP tiles
// (https://c2sp.org/tlog-tiles), whose root is signed as a C2SP checkpoint (https://c2sp.org/tlog-checkpoint). Whoever
// keeps a checkpoint can later find out that an event before it was changed, removed, inserted or moved.
//
// # The leaf, evt/1
//
// The event at position p is the leaf with index p − 1. A leaf is one line of JSON, without its line feed, whose members
// are always these, in this order, without white space:
//
//	actor_id           text
//	aggregate_id       UUID, lower case
//	aggregate_type     text
//	aggregate_version  decimal
//	causation_id       text, or null when there is none
//	client_id          text
//	correlation_id     text, or null
//	data_hash          SHA-256, 64 lower-case hexadecimal digits, of data_salt followed by the bytes of data as stored
//	event_id           UUID, lower case
//	event_type         text
//	format             "evt/1"
//	metadata_hash      as data_hash, of metadata_salt and metadata
//	occurred_at        microseconds since 1970-01-01T00:00:00Z, decimal
//	position           decimal
//	recorded_at        microseconds, as occurred_at
//	request_id         text, or null
//	schema_version     decimal
//
// Every value is a string or null. Decimals have no leading zeros and no plus sign. Salts are 16 bytes, random, each used
// once: without them nobody can try out what the hashed bytes may have been. Strings are ASCII: a quotation mark and a
// backslash are escaped by a backslash; backspace, form feed, line feed, carriage return and tab are \b, \f, \n, \r, \t;
// every other character below U+0020 or above U+007E is \uXXXX in lower case, two of them (a UTF-16 surrogate pair)
// above U+FFFF. This is what Python writes by
//
//	json.dumps(leaf, sort_keys=True, separators=(",", ":"))
//
// The leaf's hash is SHA-256 of a zero byte followed by the line; the hash of two nodes is SHA-256 of a byte 1 followed by
// both. A column that events get later means a format evt/2 for the events from then on; leaves that exist stay.
package integrity
