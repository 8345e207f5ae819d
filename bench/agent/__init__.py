"""What a step of a run costs, beside other agent runtimes, and how soon a run goes on after its worker was killed."""
