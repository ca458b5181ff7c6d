package integrity

// ParseCheckpointText reads the text that a checkpoint's signatures cover. Nobody vouches for it: it is for comparing a note
// with a log whose keys may have been replaced. It fails with ErrCheckpoint.
func ParseCheckpointText(text string) (Checkpoint, error) { return parseText(text) }
