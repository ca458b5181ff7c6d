package commerce

import (
	"context"

	"annals/domain"
	"annals/domain/commerce/product"
)

// RegisterProductCommand asks for a new product. An empty Currency is DefaultCurrency.
type RegisterProductCommand struct {
	SKU      string `json:"sku"`
	Name     string `json:"name"`
	Price    string `json:"price"`    // as domain.ParseAmount reads it
	Currency string `json:"currency"` // three capitals, or empty
	Stock    int64  `json:"stock"`    // pieces, 0 to domain.MaxCount
}

// Validate judges the command's values.
func (c RegisterProductCommand) Validate() []domain.FieldError {
	var v domain.Validator
	v.Text("/sku", c.SKU, domain.MaxCode)
	v.Text("/name", c.Name, domain.MaxText)
	v.Price("/price", c.Price)
	if c.Currency != "" {
		v.Currency("/currency", c.Currency)
	}
	v.Count("/stock", c.Stock, 0, domain.MaxCount)
	return v.Fields()
}

// RegisterProduct makes a product exist. It refuses with duplicate-sku or duplicate-name when another product of the
// client, discontinued ones included, has the sku or the name.
func RegisterProduct(_ context.Context, u *domain.UnitOfWork, cmd RegisterProductCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	price, err := domain.ParseAmount(cmd.Price)
	if err != nil {
		return err
	}
	if cmd.Currency == "" {
		cmd.Currency = DefaultCurrency
	}
	p := domain.OpenNew(u, product.Aggregate)
	u.Create(p)
	u.Claim(ClaimSKU, cmd.SKU, p.ID(), domain.Refuse(domain.CodeDuplicateSKU,
		"another product has the sku %q", cmd.SKU))
	claimName(u, p.ID(), cmd.Name)
	_, err = p.Execute(product.Register{
		SKU: cmd.SKU, Name: cmd.Name, Price: price, Currency: cmd.Currency, Stock: cmd.Stock,
	})
	return err
}

func claimName(u *domain.UnitOfWork, productID domain.ID, name string) {
	u.Claim(ClaimName, name, productID, domain.Refuse(domain.CodeDuplicateName,
		"another product has the name %q", name))
}

// ChangeProductCommand asks for another name, another price, or both. Nil leaves a value as it is.
type ChangeProductCommand struct {
	ProductID domain.ID `json:"-"`
	Name      *string   `json:"name"`
	Price     *string   `json:"price"`
}

// Validate judges the command's values: at least one must be given.
func (c ChangeProductCommand) Validate() []domain.FieldError {
	var v domain.Validator
	if c.Name == nil && c.Price == nil {
		v.Fail("/name", "name or price is required")
		v.Fail("/price", "name or price is required")
	}
	v.OptionalText("/name", c.Name, domain.MaxText)
	if c.Price != nil {
		v.Price("/price", *c.Price)
	}
	return v.Fields()
}

// ChangeProduct renames a product and changes its price. It refuses with product-discontinued or duplicate-name. The old
// name is free for others at once.
func ChangeProduct(ctx context.Context, u *domain.UnitOfWork, cmd ChangeProductCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	change := product.Change{Name: cmd.Name}
	if cmd.Price != nil {
		price, err := domain.ParseAmount(*cmd.Price)
		if err != nil {
			return err
		}
		change.Price = &price
	}
	p, err := targetProduct(ctx, u, cmd.ProductID)
	if err != nil {
		return err
	}
	oldName := p.State().Name
	if _, err := p.Execute(change); err != nil {
		return err
	}
	if newName := p.State().Name; newName != oldName {
		u.Release(ClaimName, oldName, p.ID())
		claimName(u, p.ID(), newName)
	}
	return nil
}

// DiscontinueProductCommand asks to take a product out of sale.
type DiscontinueProductCommand struct {
	ProductID domain.ID `json:"-"`
}

// DiscontinueProduct takes a product out of sale; it keeps its sku and its name. It refuses with product-in-use while
// stock is reserved. A discontinued product stays as it is.
func DiscontinueProduct(ctx context.Context, u *domain.UnitOfWork, cmd DiscontinueProductCommand) error {
	p, err := targetProduct(ctx, u, cmd.ProductID)
	if err != nil {
		return err
	}
	_, err = p.Execute(product.Discontinue{})
	return err
}

// RestoreProductCommand asks to put a product back on sale.
type RestoreProductCommand struct {
	ProductID domain.ID `json:"-"`
}

// RestoreProduct puts a discontinued product back on sale. A product on sale stays as it is.
func RestoreProduct(ctx context.Context, u *domain.UnitOfWork, cmd RestoreProductCommand) error {
	p, err := targetProduct(ctx, u, cmd.ProductID)
	if err != nil {
		return err
	}
	_, err = p.Execute(product.Restore{})
	return err
}

// ReceiveStockCommand reports pieces that arrived.
type ReceiveStockCommand struct {
	ProductID domain.ID `json:"-"`
	Quantity  int64     `json:"quantity"` // pieces, 1 to domain.MaxCount
	Reason    *string   `json:"reason"`
}

// Validate judges the command's values.
func (c ReceiveStockCommand) Validate() []domain.FieldError {
	var v domain.Validator
	v.Count("/quantity", c.Quantity, 1, domain.MaxCount)
	v.OptionalText("/reason", c.Reason, domain.MaxNote)
	return v.Fields()
}

// ReceiveStock adds pieces to a product's available stock. It refuses with product-discontinued, and with
// validation-failed when the product would have more than product.MaxOnHand pieces.
func ReceiveStock(ctx context.Context, u *domain.UnitOfWork, cmd ReceiveStockCommand) error {
	if err := domain.Validate(cmd); err != nil {
		return err
	}
	p, err := targetProduct(ctx, u, cmd.ProductID)
	if err != nil {
		return err
	}
	_, err = p.Execute(product.ReceiveStock{Quantity: cmd.Quantity, Reason: cmd.Reason})
	return err
}

type productStream = domain.Stream[product.State, product.Command, product.Event]

// targetProduct opens the product a command is about and checks the precondition.
func targetProduct(ctx context.Context, u *domain.UnitOfWork, id domain.ID) (*productStream, error) {
	p, err := domain.OpenExisting(ctx, u, product.Aggregate, id)
	if err != nil {
		return nil, err
	}
	return p, u.Target(p)
}
