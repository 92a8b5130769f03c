"""How the policy learns: the only package of Function Quest that imports TensorFlow."""
