package products

import (
	"context"
	"strings"

	"annals/domain"
	"annals/domain/commerce/product"
	"annals/eventstore"
	"annals/projections"
)

// Filter selects products.
type Filter struct {
	Discontinued bool   // include discontinued ones
	SKU          string // exactly; empty: any
	Text         string // part of the sku or the name, in either case; empty: any
}

// Queries reads the products.
type Queries struct{ tenants *eventstore.Tenants }

// NewQueries makes the queries over the one path to tenant data.
func NewQueries(tenants *eventstore.Tenants) *Queries { return &Queries{tenants} }

// Get gives one product, discontinued or not, and the log's position that the answer is true at. Without one it refuses
// with not-found.
func (q *Queries) Get(ctx context.Context, client string, id domain.ID) (Product, int64, error) {
	return projections.ReadOne[Product](ctx, q.tenants, client, Spec(), table, "product", id)
}

// List gives at most limit products, ascending by the position of their registration, of those after a position.
func (q *Queries) List(
	ctx context.Context, client string, f Filter, after int64, limit int,
) (projections.List[Product], error) {
	var c projections.Conditions
	if !f.Discontinued {
		c.And("status = ?", string(product.StatusActive))
	}
	if f.SKU != "" {
		c.And("sku = ?", f.SKU)
	}
	if f.Text != "" {
		text := strings.ToLower(f.Text)
		c.And("(strpos(lower(name), ?) > 0 OR strpos(lower(sku), ?) > 0)", text, text)
	}
	return projections.ReadList(ctx, q.tenants, client, Spec(), table, "created_position", &c, after, limit,
		func(p Product) int64 { return p.CreatedPosition })
}
