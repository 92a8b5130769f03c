"""Players to be beaten, each as strong as its idea allows; none ever saw an outside file."""
