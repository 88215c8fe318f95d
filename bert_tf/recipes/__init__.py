"""Recipes: the commands of the paper's experiments, what they should score and what they cost.

`bert-tf recipe` lists them; a module here holds those of one kind, see `recipe.Recipe`.
"""
