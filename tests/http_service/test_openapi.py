from recbole_gro.http_service.openapi import openapi
from recbole_gro.http_service.query import Limits


def test_the_document_has_the_bounds_of_a_request():
    document = openapi(Limits(body=1, histories=3, history=4, k=5), catalogue=True)
    call = document["paths"]["/v1/recommend"]["post"]
    one, many = call["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert one["properties"]["history"]["maxItems"] == many["properties"]["histories"]["items"]["maxItems"] == 4
    assert many["properties"]["histories"]["maxItems"] == 3
    assert one["properties"]["k"] == {"type": "integer", "minimum": 1, "maximum": 5, "default": 5}
    assert {"200", "401", "402", "408", "413", "422", "429", "500", "503"} == call["responses"].keys()
    assert "/v1/catalogue" in document["paths"]
