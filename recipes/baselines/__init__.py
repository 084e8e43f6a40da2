"""What a model has to beat: methods that count, which recipes measure beside their own."""
