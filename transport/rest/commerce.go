package rest

import (
	"net/http"

	"annals/domain"
	"annals/domain/commerce"
	"annals/domain/commerce/order"
	"annals/transport/rest/jsonbody"
)

// Paths of resources whose Location is given.
const (
	productsPath = "/v1/products"
	cartsPath    = "/v1/carts"
)

// commerceCommands are the routes that change products, carts and orders.
func (s *server) commerceCommands() []*endpoint {
	var endpoints []*endpoint
	for _, c := range []command{
		{method: http.MethodPost, path: productsPath, name: "registerProduct", body: bodyRequired,
			location: productsPath + "/", decode: registerProduct},
		{method: http.MethodPatch, path: productsPath + "/{id}", name: "changeProduct", body: bodyRequired,
			decode: changeProduct},
		{method: http.MethodDelete, path: productsPath + "/{id}", name: "discontinueProduct", body: bodyOptional,
			decode: discontinueProduct},
		{method: http.MethodPost, path: productsPath + "/{id}/restore", name: "restoreProduct", body: bodyOptional,
			decode: restoreProduct},
		{method: http.MethodPost, path: productsPath + "/{id}/stock-receipts", name: "receiveStock", body: bodyRequired,
			decode: receiveStock},
		{method: http.MethodPost, path: cartsPath, name: "createCart", body: bodyRequired,
			location: cartsPath + "/", decode: createCart},
		{method: http.MethodPost, path: cartsPath + "/{id}/items", name: "addItem", body: bodyRequired, decode: addItem},
		{method: http.MethodPatch, path: cartsPath + "/{id}/items/{product_id}", name: "changeItemQuantity",
			body: bodyRequired, decode: changeItemQuantity},
		{method: http.MethodDelete, path: cartsPath + "/{id}/items/{product_id}", name: "removeItem", body: bodyOptional,
			decode: removeItem},
		{method: http.MethodPost, path: cartsPath + "/{id}/submit", name: "submitCart", body: bodyRequired,
			decode: submitCart},
		{method: http.MethodPost, path: "/v1/orders/{id}/cancel", name: "cancelOrder", body: bodyRequired,
			decode: cancelOrder},
		{method: http.MethodPost, path: "/v1/orders/{id}/ship", name: "shipOrder", body: bodyRequired, decode: shipOrder},
	} {
		endpoints = append(endpoints, s.command(c))
	}
	return endpoints
}

func registerProduct(_ *request, f *jsonbody.Fields) (useCase, error) {
	cmd := commerce.RegisterProductCommand{SKU: f.String("sku"), Name: f.String("name"), Price: f.String("price")}
	if currency := f.OptionalString("currency"); currency != nil {
		if cmd.Currency = *currency; cmd.Currency == "" { // the command would take it for the default
			f.Fault("currency", "must be three capital letters such as \"USD\"")
		}
	}
	if stock := f.OptionalInteger("stock"); stock != nil {
		cmd.Stock = *stock
	}
	return uses(f, cmd, commerce.RegisterProduct), nil
}

func changeProduct(r *request, f *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "product")
	cmd := commerce.ChangeProductCommand{ProductID: id, Name: f.OptionalString("name"), Price: f.OptionalString("price")}
	if cmd.Name != nil || cmd.Price != nil || !f.Has("name") && !f.Has("price") {
		f.Judge(cmd.Validate()) // else one was sent that couldn't be read: the other isn't missing
	}
	return runs(cmd, commerce.ChangeProduct), missing
}

func discontinueProduct(r *request, _ *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "product")
	return runs(commerce.DiscontinueProductCommand{ProductID: id}, commerce.DiscontinueProduct), missing
}

func restoreProduct(r *request, _ *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "product")
	return runs(commerce.RestoreProductCommand{ProductID: id}, commerce.RestoreProduct), missing
}

func receiveStock(r *request, f *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "product")
	cmd := commerce.ReceiveStockCommand{
		ProductID: id, Quantity: f.Integer("quantity"), Reason: f.OptionalString("reason"),
	}
	return uses(f, cmd, commerce.ReceiveStock), missing
}

func createCart(_ *request, f *jsonbody.Fields) (useCase, error) {
	return uses(f, commerce.CreateCartCommand{CustomerID: f.OptionalString("customer_id")}, commerce.CreateCart), nil
}

func addItem(r *request, f *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "cart")
	cmd := commerce.AddItemCommand{CartID: id, ProductID: f.String("product_id"), Quantity: f.Integer("quantity")}
	return uses(f, cmd, commerce.AddItem), missing
}

func changeItemQuantity(r *request, f *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "cart")
	product, missingItem := r.resource("product_id", "item")
	cmd := commerce.ChangeItemQuantityCommand{CartID: id, ProductID: product, Quantity: f.Integer("quantity")}
	return uses(f, cmd, commerce.ChangeItemQuantity), or(missing, missingItem)
}

func removeItem(r *request, _ *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "cart")
	product, missingItem := r.resource("product_id", "item")
	cmd := commerce.RemoveItemCommand{CartID: id, ProductID: product}
	return runs(cmd, commerce.RemoveItem), or(missing, missingItem)
}

func submitCart(r *request, f *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "cart")
	a := f.Object("shipping_address")
	cmd := commerce.SubmitCartCommand{CartID: id, ShippingAddress: &order.Address{
		StreetLine1: domain.Personal(a.String("street_line_1")),
		StreetLine2: domain.PersonalPointer(a.OptionalString("street_line_2")),
		City:        domain.Personal(a.String("city")), State: domain.PersonalPointer(a.OptionalString("state")),
		PostalCode: domain.Personal(a.String("postal_code")), Country: a.String("country"),
	}}
	return uses(f, cmd, commerce.SubmitCart), missing
}

func cancelOrder(r *request, f *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "order")
	return uses(f, commerce.CancelOrderCommand{OrderID: id, Reason: f.OptionalString("reason")}, commerce.CancelOrder), missing
}

func shipOrder(r *request, f *jsonbody.Fields) (useCase, error) {
	id, missing := r.resource("id", "order")
	cmd := commerce.ShipOrderCommand{OrderID: id, TrackingReference: f.OptionalString("tracking_reference")}
	return uses(f, cmd, commerce.ShipOrder), missing
}
