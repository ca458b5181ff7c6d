package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/jmoiron/sqlx"
	"github.com/spf13/pflag"

	"annals/eventstore"
	"annals/eventstore/secretfile"
	"annals/eventstore/subjectkeys"
	"annals/migrations"
)

// subjectKeysFile is the name of the file with the secret that wraps subject keys.
const subjectKeysFile = "subject-keys.secret"

// keyFlags say where the keys of personal text are, and the secret that wraps them.
type keyFlags struct {
	url    string
	secret secretfile.Source
}

func (f *keyFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "subject-keys-url", "", "`url` of the database that holds the keys of personal text (default: the one of the log)")
	flags.StringVar(&f.secret.File, "subject-keys-file", "",
		"`file` with the secret that wraps those keys, made when there is none (default "+subjectKeysFile+" in the data directory)")
	flags.StringVar(&f.secret.PassphraseFile, "subject-keys-passphrase-file", "", "`file` with a passphrase that wraps those keys instead")
	flags.StringVar(&f.secret.Passphrase, "subject-keys-passphrase", "",
		"`passphrase` that wraps those keys instead; better in ANNALS_SUBJECT_KEYS_PASSPHRASE")
}

// keySource is where a process finds the keys of personal text. The zero value is nowhere.
type keySource struct {
	dsn    string
	apart  bool // in a database that isn't the log's
	secret secretfile.Source
}

// keySource gives where the keys of the flags are, for the log in a database.
func (c *cli) keySource(dsn string) keySource {
	s := keySource{dsn: dsn, secret: c.subjectKeys.secret}
	if c.subjectKeys.url != "" {
		s.dsn, s.apart = c.subjectKeys.url, true
	}
	if s.secret.File == "" {
		s.secret.File = filepath.Join(c.db.passphraseDir(), subjectKeysFile)
	}
	return s
}

// open opens the keys. With create it makes what is missing: tables in a database of their own, and a first secret. Without
// it, keys that nobody has made yet are nil. A secret is never made for keys that have one.
func (s keySource) open(ctx context.Context, create bool) (*subjectkeys.Keys, error) {
	if s.dsn == "" {
		return nil, nil
	}
	if s.apart && create {
		owner, err := eventstore.OpenDB(s.dsn, eventstore.RoleOwner, 2, "annals subject keys")
		if err != nil {
			return nil, err
		}
		err = prepareSubjectKeys(ctx, owner)
		owner.Close()
		if err != nil {
			return nil, fmt.Errorf("prepare the database of the subject keys, %s: %w", eventstore.MaskSecrets(s.dsn), err)
		}
	}
	exist, err := subjectkeys.Exist(ctx, s.dsn)
	if err != nil {
		return nil, fmt.Errorf("look for the subject keys in %s: %w", eventstore.MaskSecrets(s.dsn), err)
	}
	if !exist && !create {
		return nil, nil
	}
	secret, err := s.secret.Read(create && !exist)
	if errors.Is(err, secretfile.ErrMissing) && exist {
		return nil, fmt.Errorf("the subject keys exist, the secret that wraps them doesn't: restore it, or say where it is: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("the secret of the subject keys: %w", err)
	}
	return subjectkeys.Open(ctx, s.dsn, subjectkeys.Secret{Text: secret.Text, Random: secret.Random})
}

// prepareSubjectKeys makes the tables in a database of their own. A database with a log has them.
func prepareSubjectKeys(ctx context.Context, owner *sqlx.DB) error {
	var log bool
	err := owner.GetContext(ctx, &log, `SELECT to_regclass('annals.events') IS NOT NULL`)
	if err != nil || log {
		return err
	}
	_, err = migrations.UpSubjectKeys(ctx, owner.DB)
	return err
}

// openKeys opens the keys of personal text for reading; nil when there are none. Where they can't be opened, it says so, and
// the text is shown sealed.
func (c *cli) openKeys(ctx context.Context, dsn string) *subjectkeys.Keys {
	keys, err := c.keySource(dsn).open(ctx, false)
	if err != nil {
		fmt.Fprintf(c.stderr, "personal text is shown sealed: %v\n", err)
	}
	return keys
}
