package integrity

// Decrypt opens a private key as the database has it.
func Decrypt(sealed []byte, passphrase, verifier string) (string, error) {
	k, err := decrypt(sealed, passphrase, verifier)
	return k.private, err
}
