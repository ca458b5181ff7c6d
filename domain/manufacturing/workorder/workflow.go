package workorder

import "slices"

// Status is where a work order stands.
type Status string

// The states of a work order. Before it is created the status is empty.
const (
	StatusReceived   Status = "received"
	StatusReleased   Status = "released"
	StatusInProgress Status = "in_progress"
	StatusCompleted  Status = "completed"
	StatusShipped    Status = "shipped"
	StatusClosed     Status = "closed"
	StatusOnHold     Status = "on_hold"
	StatusDemoted    Status = "demoted"
	StatusRejected   Status = "rejected"
	StatusCancelled  Status = "cancelled"
)

// Statuses lists every state, the main line first.
func Statuses() []Status {
	return []Status{
		StatusReceived, StatusReleased, StatusInProgress, StatusCompleted, StatusShipped, StatusClosed,
		StatusOnHold, StatusDemoted, StatusRejected, StatusCancelled,
	}
}

// Terminal reports whether no transition leads out of the state.
func (s Status) Terminal() bool {
	return s == StatusClosed || s == StatusCancelled || s == StatusRejected
}

// Open reports whether there is still work to do: the order is neither shipped nor in a terminal state.
func (s Status) Open() bool { return s != "" && s != StatusShipped && !s.Terminal() }

// Holdable reports whether an order in the state can be put on hold. A further hold can also be added to one that is on
// hold.
func (s Status) Holdable() bool {
	return s == StatusReceived || s == StatusReleased || s == StatusInProgress || s == StatusDemoted
}

// Trigger says what changed a status.
type Trigger string

// The triggers of a change of status.
const (
	TriggerManual Trigger = "manual" // a transition that somebody asked for
	TriggerHold   Trigger = "hold"   // a hold was created or resumed
	TriggerQC     Trigger = "qc"     // a hold that a failed inspection created
	TriggerSystem Trigger = "system" // a policy
)

// Workflow names the template that an order follows.
type Workflow string

// The workflow templates.
const (
	WorkflowStandard Workflow = "standard" // received → released → in_progress → completed → shipped → closed
	WorkflowExpress  Workflow = "express"  // received → in_progress → completed → closed
	WorkflowWithQC   Workflow = "with_qc"  // as standard; completing needs QC approval too
	WorkflowMinimal  Workflow = "minimal"  // received → completed → closed
)

// Workflows lists the templates.
func Workflows() []Workflow {
	return []Workflow{WorkflowStandard, WorkflowExpress, WorkflowWithQC, WorkflowMinimal}
}

// template is a workflow as data. Going on hold and coming back isn't in it: a hold does that, from the holdable states
// of any workflow.
type template struct {
	transitions []transition
	recording   Status   // the state in which production entries are recorded
	needsOutput []Status // targets that need recorded output above zero
	needsQC     []Status // targets that need QC approval
}

// transition says from which states a state can be asked for.
type transition struct {
	to   Status
	from []Status
}

func standardTransitions() []transition {
	return []transition{
		{StatusReleased, []Status{StatusReceived, StatusDemoted}},
		{StatusInProgress, []Status{StatusReleased}},
		{StatusCompleted, []Status{StatusInProgress}},
		{StatusShipped, []Status{StatusCompleted}},
		{StatusClosed, []Status{StatusShipped, StatusCompleted}},
		{StatusDemoted, []Status{StatusReleased}},
		{StatusRejected, []Status{StatusInProgress, StatusCompleted}},
		{StatusCancelled, []Status{StatusReceived, StatusReleased, StatusInProgress, StatusOnHold, StatusDemoted}},
	}
}

func templateOf(w Workflow) template {
	switch w {
	case WorkflowExpress:
		return template{
			transitions: []transition{
				{StatusInProgress, []Status{StatusReceived}},
				{StatusCompleted, []Status{StatusInProgress}},
				{StatusClosed, []Status{StatusCompleted}},
				{StatusRejected, []Status{StatusInProgress, StatusCompleted}},
				{StatusCancelled, []Status{StatusReceived, StatusInProgress, StatusOnHold}},
			},
			recording:   StatusInProgress,
			needsOutput: []Status{StatusCompleted},
		}
	case WorkflowWithQC:
		return template{
			transitions: standardTransitions(),
			recording:   StatusInProgress,
			needsOutput: []Status{StatusCompleted},
			needsQC:     []Status{StatusCompleted, StatusShipped},
		}
	case WorkflowMinimal:
		return template{
			transitions: []transition{
				{StatusCompleted, []Status{StatusReceived}},
				{StatusClosed, []Status{StatusCompleted}},
				{StatusRejected, []Status{StatusCompleted}},
				{StatusCancelled, []Status{StatusReceived, StatusOnHold}},
			},
			recording: StatusReceived,
		}
	default:
		return template{
			transitions: standardTransitions(),
			recording:   StatusInProgress,
			needsOutput: []Status{StatusCompleted},
			needsQC:     []Status{StatusShipped},
		}
	}
}

// Allowed lists the states that can be asked for, in the order of the table. It follows the table alone: output and QC
// approval aren't considered, and on_hold isn't asked for but comes from a hold.
func Allowed(workflow Workflow, status Status) []Status {
	allowed := []Status{}
	for _, t := range templateOf(workflow).transitions {
		if slices.Contains(t.from, status) {
			allowed = append(allowed, t.to)
		}
	}
	return allowed
}

// RecordsOutput reports whether production entries are recorded in the state.
func RecordsOutput(workflow Workflow, status Status) bool {
	return templateOf(workflow).recording == status
}
