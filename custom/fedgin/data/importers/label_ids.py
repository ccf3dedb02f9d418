"""How public data sets number the organs in their label files."""

BTCV_IDS = {
    "spleen": 1,
    "right_kidney": 2,
    "left_kidney": 3,
    "gallbladder": 4,
    "oesophagus": 5,
    "liver": 6,
    "stomach": 7,
    "aorta": 8,
    "inferior_vena_cava": 9,
    "portal_and_splenic_vein": 10,
    "pancreas": 11,
    "right_adrenal": 12,
    "left_adrenal": 13,
}
CHAOS_IDS = {"liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4}
# Of version 2, the organs that the abdomen's jobs and phantoms know.
TOTALSEGMENTATOR_IDS = {"spleen": 1, "right_kidney": 2, "left_kidney": 3, "gallbladder": 4, "liver": 5, "pancreas": 10}

_CHAMBERS = {"left_ventricle": 1, "right_ventricle": 2, "left_atrium": 3, "right_atrium": 4}
CHD68_IDS = {**_CHAMBERS, "myocardium": 5, "aorta": 6, "pulmonary_artery": 7}
HVSMR_IDS = {**_CHAMBERS, "aorta": 5, "pulmonary_artery": 6, "superior_vena_cava": 7, "inferior_vena_cava": 8}
# Of version 1.
TOTALSEGMENTATOR_HEART_IDS = {
    "aorta": 7,
    "myocardium": 44,
    "left_atrium": 45,
    "left_ventricle": 46,
    "right_atrium": 47,
    "right_ventricle": 48,
    "pulmonary_artery": 49,
}
