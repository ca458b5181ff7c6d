package rest

import (
	"fmt"
	"time"

	"annals/domain"
	"annals/domain/commerce/cart"
	"annals/domain/commerce/order"
	"annals/domain/commerce/product"
	"annals/domain/manufacturing/hold"
	"annals/domain/manufacturing/inspection"
	"annals/domain/manufacturing/kpi"
	"annals/domain/manufacturing/production"
	"annals/domain/manufacturing/workorder"
	"annals/domain/notifications"
	"annals/eventstore"
)

// productView is a product as the API shows it.
type productView struct {
	ID        domain.ID     `json:"id"`
	SKU       string        `json:"sku"`
	Name      string        `json:"name"`
	Price     domain.Amount `json:"price"`
	Currency  string        `json:"currency"`
	Stock     stockView     `json:"stock"`
	Status    string        `json:"status"`
	Version   int64         `json:"version"`
	CreatedAt timestamp     `json:"created_at"`
	UpdatedAt timestamp     `json:"updated_at"`
}

type stockView struct {
	Available int64 `json:"available"`
	Reserved  int64 `json:"reserved"`
	OnHand    int64 `json:"on_hand"`
}

// lineView is a line of a cart or an order.
type lineView struct {
	ProductID   domain.ID     `json:"product_id"`
	SKU         string        `json:"sku"`
	ProductName string        `json:"product_name"`
	Quantity    int64         `json:"quantity"`
	UnitPrice   domain.Amount `json:"unit_price"`
	LineTotal   domain.Amount `json:"line_total"`
}

// cartView is a cart as the API shows it. Currency is null while it is empty, OrderID until it is submitted.
type cartView struct {
	ID         domain.ID     `json:"id"`
	CustomerID *string       `json:"customer_id"`
	Status     string        `json:"status"`
	Currency   *string       `json:"currency"`
	Items      []lineView    `json:"items"`
	Total      domain.Amount `json:"total"`
	ItemCount  int64         `json:"item_count"`
	OrderID    *domain.ID    `json:"order_id"`
	Version    int64         `json:"version"`
	CreatedAt  timestamp     `json:"created_at"`
	UpdatedAt  timestamp     `json:"updated_at"`
}

// orderView is an order as the API shows it.
type orderView struct {
	ID                 domain.ID     `json:"id"`
	CartID             domain.ID     `json:"cart_id"`
	CustomerID         *string       `json:"customer_id"`
	Status             string        `json:"status"`
	Lines              []lineView    `json:"lines"`
	Total              domain.Amount `json:"total"`
	Currency           string        `json:"currency"`
	ShippingAddress    order.Address `json:"shipping_address"`
	CancellationReason *string       `json:"cancellation_reason"`
	TrackingReference  *string       `json:"tracking_reference"`
	Version            int64         `json:"version"`
	CreatedAt          timestamp     `json:"created_at"`
	UpdatedAt          timestamp     `json:"updated_at"`
}

// represent shows a state with the members that its resource's GET has, as of a moment, on which ages depend. An aggregate
// without a resource shows its state as it is.
func (s *server) represent(at eventstore.StateAt, now time.Time) (any, error) {
	switch state := at.State.(type) {
	case product.State:
		return productOf(at, state), nil
	case cart.State:
		return cartOf(at, state), nil
	case order.State:
		return orderOf(at, state), nil
	case workorder.State:
		return workOrderOf(at, state, now), nil
	case production.State:
		return entryOf(at, state.Entry), nil
	case inspection.State:
		return inspectionOf(at, state.Inspection), nil
	case hold.State:
		return holdOf(at, state, now), nil
	case kpi.State:
		return thresholdOf(at, state), nil
	case notifications.WebhookState:
		return webhookOf(at, state), nil
	case nil:
		return nil, fmt.Errorf("%s %s has no state", at.AggregateType, at.ID)
	default:
		return state, nil
	}
}

func productOf(at eventstore.StateAt, state product.State) productView {
	return productView{
		ID: at.ID, SKU: state.SKU, Name: state.Name, Price: state.Price, Currency: state.Currency,
		Stock:  stockView{Available: state.Available, Reserved: state.Reserved, OnHand: state.OnHand()},
		Status: string(state.Status), Version: at.Version,
		CreatedAt: timestamp(at.CreatedAt), UpdatedAt: timestamp(at.UpdatedAt),
	}
}

func cartOf(at eventstore.StateAt, state cart.State) cartView {
	view := cartView{
		ID: at.ID, CustomerID: state.CustomerID, Status: string(state.Status), Items: make([]lineView, len(state.Lines)),
		Total: state.Total(), ItemCount: state.ItemCount(), Version: at.Version,
		CreatedAt: timestamp(at.CreatedAt), UpdatedAt: timestamp(at.UpdatedAt),
	}
	for i, l := range state.Lines {
		view.Items[i] = lineView{l.ProductID, l.SKU, l.ProductName, l.Quantity, l.UnitPrice, l.Total()}
	}
	if currency := state.Currency(); currency != "" {
		view.Currency = &currency
	}
	if !state.OrderID.IsZero() {
		view.OrderID = &state.OrderID
	}
	return view
}

func orderOf(at eventstore.StateAt, state order.State) orderView {
	view := orderView{
		ID: at.ID, CartID: state.CartID, CustomerID: state.CustomerID, Status: string(state.Status),
		Lines: make([]lineView, len(state.Lines)), Total: state.Total, Currency: state.Currency,
		ShippingAddress: state.ShippingAddress, CancellationReason: state.CancellationReason,
		TrackingReference: state.TrackingReference, Version: at.Version,
		CreatedAt: timestamp(at.CreatedAt), UpdatedAt: timestamp(at.UpdatedAt),
	}
	for i, l := range state.Lines {
		view.Lines[i] = lineView{l.ProductID, l.SKU, l.ProductName, l.Quantity, l.UnitPrice, l.Total()}
	}
	return view
}

func (v productView) version() int64 { return v.Version }
func (v cartView) version() int64    { return v.Version }
func (v orderView) version() int64   { return v.Version }
