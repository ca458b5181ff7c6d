package rest

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"annals/domain"
	"annals/domain/commerce/cart"
	"annals/domain/commerce/order"
	"annals/domain/commerce/product"
	"annals/eventstore"
	"annals/projections"
	"annals/projections/carts"
	"annals/projections/orders"
	"annals/projections/products"
)

// Products reads the products. As in every read model's interface here, Get gives one row of the client, or a not-found
// refusal, and in either case the position that the model had applied; List gives at most limit rows, ascending by the position
// that created them, after such a position.
type Products interface {
	Get(ctx context.Context, client string, id domain.ID) (products.Product, int64, error)
	List(ctx context.Context, client string, f products.Filter, after int64, limit int) (projections.List[products.Product], error)
}

// Carts reads the carts, as Products does.
type Carts interface {
	Get(ctx context.Context, client string, id domain.ID) (carts.Cart, int64, error)
}

// Orders reads the orders, as Products does.
type Orders interface {
	Get(ctx context.Context, client string, id domain.ID) (orders.Order, int64, error)
	List(ctx context.Context, client string, f orders.Filter, after int64, limit int) (projections.List[orders.Order], error)
}

// commerceQueries are the routes that show products, carts and orders.
func (s *server) commerceQueries() []*endpoint {
	return []*endpoint{
		getOfClient(productsPath, "listProducts", s.listProducts),
		getOfClient(productsPath+"/{id}", "getProduct", s.getProduct),
		getOfClient(cartsPath+"/{id}", "getCart", s.getCart),
		getOfClient("/v1/orders", "listOrders", s.listOrders),
		getOfClient("/v1/orders/{id}", "getOrder", s.getOrder),
	}
}

func (s *server) listProducts(r *request) (answer, error) {
	q := &r.query
	filter := products.Filter{
		Discontinued: q.enum("include", "discontinued") != "", SKU: q.text("sku"), Text: q.text("q"),
	}
	limit, cursor := q.limit(), q.cursor()
	return func(w http.ResponseWriter) error {
		scope := cursorScope("products", r.who.Client, strconv.FormatBool(filter.Discontinued), filter.SKU, filter.Text)
		return serveList(s, w, r, products.Spec().Name, scope, cursor, productRow,
			func(ctx context.Context, after int64) (projections.List[products.Product], error) {
				return s.config.Products.List(ctx, r.who.Client, filter, after, limit)
			})
	}, nil
}

func (s *server) getProduct(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		return serveOne(s, w, r, products.Spec().Name, "product", productRow, s.config.Products.Get)
	}, nil
}

func (s *server) getCart(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		return serveOne(s, w, r, carts.Spec().Name, "cart", cartRow, s.config.Carts.Get)
	}, nil
}

func (s *server) listOrders(r *request) (answer, error) {
	q := &r.query
	filter := orders.Filter{
		CustomerID: q.text("customer_id"), Status: q.enum("status", "created", "cancelled", "shipped"),
	}
	limit, cursor := q.limit(), q.cursor()
	return func(w http.ResponseWriter) error {
		scope := cursorScope("orders", r.who.Client, filter.CustomerID, filter.Status)
		return serveList(s, w, r, orders.Spec().Name, scope, cursor, orderRow,
			func(ctx context.Context, after int64) (projections.List[orders.Order], error) {
				return s.config.Orders.List(ctx, r.who.Client, filter, after, limit)
			})
	}, nil
}

func (s *server) getOrder(r *request) (answer, error) {
	return func(w http.ResponseWriter) error {
		return serveOne(s, w, r, orders.Spec().Name, "order", orderRow, s.config.Orders.Get)
	}, nil
}

// The rows of the read models hold the aggregates' states, so that a resource looks the same wherever it is shown.

func productRow(row products.Product) productView {
	return productOf(rowAt(row.ID, row.Version, row.CreatedAt, row.UpdatedAt), product.State{
		SKU: row.SKU, Name: row.Name, Price: row.Price, Currency: row.Currency, Available: row.Available,
		Reserved: row.Reserved, Status: row.Status,
	})
}

func cartRow(row carts.Cart) cartView {
	state := cart.State{CustomerID: row.CustomerID, Status: row.Status, Lines: row.Lines.Value}
	if row.OrderID != nil {
		state.OrderID = *row.OrderID
	}
	return cartOf(rowAt(row.ID, row.Version, row.CreatedAt, row.UpdatedAt), state)
}

func orderRow(row orders.Order) orderView {
	return orderOf(rowAt(row.ID, row.Version, row.CreatedAt, row.UpdatedAt), order.State{
		CartID: row.CartID, CustomerID: row.CustomerID, Status: row.Status, Lines: row.Lines.Value,
		ShippingAddress: row.ShippingAddress.Value, Total: row.Total, Currency: row.Currency,
		CancellationReason: row.CancellationReason, TrackingReference: row.TrackingReference,
	})
}

func rowAt(id domain.ID, version int64, created, updated time.Time) eventstore.StateAt {
	return eventstore.StateAt{ID: id, Loaded: domain.Loaded{Version: version, CreatedAt: created, UpdatedAt: updated}}
}
