mod transform;
