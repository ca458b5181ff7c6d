package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"annals/domain"
	"annals/domain/operations"
	"annals/eventstore"
	"annals/eventstore/embedded"
	"annals/eventstore/integrity"
)

// signingFlags say where the key that signs checkpoints is, or what opens it.
type signingFlags struct {
	keyFile        string
	passphrase     string
	passphraseFile string
}

func (f *signingFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.keyFile, "signing-key-file", "", "`file` with the private key that signs checkpoints, which then isn't stored in the database")
	flags.StringVar(&f.passphrase, "signing-passphrase", "", "`passphrase` of the signing key in the database; better in ANNALS_SIGNING_PASSPHRASE")
	flags.StringVar(&f.passphraseFile, "signing-passphrase-file", "", "`file` with the passphrase (default: one made at the first start, in the data directory)")
}

func (f *signingFlags) check(cmd *cobra.Command) error {
	set := 0
	for _, value := range []string{f.keyFile, f.passphrase, f.passphraseFile} {
		if value != "" {
			set++
		}
	}
	if set > 1 {
		return misuse(cmd, "of --signing-key-file, --signing-passphrase and --signing-passphrase-file only one can be given")
	}
	return nil
}

// signingSecrets reads the flags of a command that has them.
func (c *cli) signingSecrets(cmd *cobra.Command, f *signingFlags) (integrity.Secrets, error) {
	if err := f.check(cmd); err != nil {
		return integrity.Secrets{}, err
	}
	return f.secrets(c.db.passphraseDir())
}

// signingEnvironment is what the environment says to commands that have no such flags but run a server of their own.
func (c *cli) signingEnvironment() *signingFlags {
	return &signingFlags{
		keyFile: c.env("ANNALS_SIGNING_KEY_FILE"), passphrase: c.env("ANNALS_SIGNING_PASSPHRASE"),
		passphraseFile: c.env("ANNALS_SIGNING_PASSPHRASE_FILE"),
	}
}

// maxSecretFile is more than a key or a passphrase has.
const maxSecretFile = 64 << 10

// secrets reads what the flags name. dir is where a passphrase is that nobody configured.
func (f *signingFlags) secrets(dir string) (s integrity.Secrets, err error) {
	s = integrity.Secrets{Passphrase: f.passphrase, PassphraseDir: dir}
	if f.keyFile != "" {
		if s.SignerKey, err = readSecret(f.keyFile); err == nil {
			_, err = integrity.VerifierKey(s.SignerKey)
		}
	} else if f.passphraseFile != "" {
		s.Passphrase, err = readSecret(f.passphraseFile)
	}
	return s, err
}

// readSecret reads a file that holds a secret, without the white space around it.
func readSecret(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	if info.Size() > maxSecretFile {
		return "", fmt.Errorf("read a secret: %s has %d bytes", path, info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	secret := strings.TrimSpace(string(data))
	if secret == "" {
		return "", fmt.Errorf("read a secret: %s is empty", path)
	}
	return secret, nil
}

// passphraseDir is where a passphrase that nobody configured is kept: in the directory of the private PostgreSQL, beside
// its data, or for another database beside the directory that a private one would have. "": there is no such place.
func (f *databaseFlags) passphraseDir() string {
	dir := f.dataDir
	if f.url != "" || dir == "" {
		var err error
		if dir, err = embedded.DefaultDataDir(); err != nil {
			return ""
		}
	}
	if f.url != "" {
		return dir + "-keys"
	}
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// integrityNode is a node's part of sealing and signing.
type integrityNode struct {
	log    *integrity.Log
	keys   *integrity.Keys
	signer *integrity.Signer
}

// newIntegrity makes what seals and signs, which doesn't run yet. actor is who makes or changes keys.
func (n *node) newIntegrity(secrets integrity.Secrets, actor string) {
	keys := integrity.NewKeys(integrity.KeysConfig{
		DB: n.store.Commands, Recorder: keyRecorder{n.commands, n.store.States, actor}, Secrets: secrets, Logger: n.logger,
	})
	n.integrity = integrityNode{
		log: integrity.NewLog(n.store.Commands), keys: keys,
		signer: integrity.NewSigner(keys, integrity.SignEvery, n.logger),
	}
}

// ensureKeys makes the key that signs checkpoints at the first start. A node that can't open it seals all the same.
func (n *node) ensureKeys(ctx context.Context) error {
	err := n.integrity.keys.Ensure(ctx)
	if errors.Is(err, integrity.ErrCannotSign) {
		n.logger.WarnContext(ctx, "this server seals events and signs no checkpoints", "error", err)
		return nil
	}
	return err
}

// keyRecorder writes what becomes of keys into the log.
type keyRecorder struct {
	commands eventstore.Runner
	states   eventstore.StateReader
	actor    string
}

var _ integrity.Recorder = keyRecorder{}

// CurrentKey implements integrity.Recorder.
func (r keyRecorder) CurrentKey(ctx context.Context) (string, error) {
	s, err := r.states.Current(ctx, eventstore.SystemClient, operations.SigningKey.Type, operations.SigningKeyID())
	var refused *domain.Error
	if errors.As(err, &refused) && refused.Code == domain.CodeNotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	state, ok := s.State.(operations.SigningKeyState)
	if !ok {
		return "", fmt.Errorf("the signing keys' state is %T", s.State)
	}
	return state.Current(), nil
}

// KeyCreated implements integrity.Recorder.
func (r keyRecorder) KeyCreated(ctx context.Context, origin, verifierKey string) (int64, error) {
	return r.set(ctx, operations.CreateSigningKey{Origin: origin, VerifierKey: verifierKey})
}

// KeyRotated implements integrity.Recorder.
func (r keyRecorder) KeyRotated(ctx context.Context, rotation integrity.Rotation) (int64, error) {
	return r.set(ctx, operations.RotateSigningKey(rotation))
}

func (r keyRecorder) set(ctx context.Context, c operations.SigningKeyCommand) (int64, error) {
	result, err := r.commands.Run(ctx, systemCommand(r.actor), func(ctx context.Context, u *domain.UnitOfWork) error {
		return operations.SetSigningKey(ctx, u, c)
	})
	return result.Position, err
}
