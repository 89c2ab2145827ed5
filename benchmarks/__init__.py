"""How fast Skyward is, each figure beside a floor and peers that are measured in the same run."""
