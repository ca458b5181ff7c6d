// Package evidence exports events with all that is needed to verify them offline, and verifies such bundles, single
// proofs and the database itself against signed checkpoints.
//
// # The bundle, annals-evidence/1
//
// A bundle is a ZIP file or a directory with these files:
//
//	manifest.json     what the bundle is said to be: log, size, selection, number of events
//	checkpoint.note   the signed checkpoint of the tree that the bundle is of (C2SP tlog-checkpoint)
//	keys.json         the log's verifier keys, with the statements of their rotations
//	events.ndjson     the tree from left to right, a line for each selected event and for each subtree without one
//	notes/SIZE.note   earlier signed checkpoints, at whose sizes the root can be computed too
//
// A line of an event is its leaf, and the salts and exact bytes that the leaf's hashes are of:
//
//	{"leaf":{…},"data_salt":"hex","data":{…},"metadata_salt":"hex","metadata":{…}}
//
// data and metadata are the stored bytes as they are. Bytes that can't be part of a line (white space around the value,
// a line feed) are members data_base64 and metadata_base64 instead. A line without them has a payload that was left out;
// "erased_at" then names the position of the receipt (subject.erased) that says why.
//
// A line of a subtree stands for the 2^level leaves from index·2^level on (leaf 0 is position 1):
//
//	{"level":3,"index":5,"hash":"base64"}
//
// Lines follow each other without a gap, and no other white space is allowed. So one pass over them with memory for the
// logarithm of the tree computes the root, which the checkpoint must have. Members come in this order and are written as
// here: every bundle has one form.
package evidence
