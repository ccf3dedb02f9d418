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
AMOS22_IDS = {
    "spleen": 1,
    "right_kidney": 2,
    "left_kidney": 3,
    "gallbladder": 4,
    "oesophagus": 5,
    "liver": 6,
    "stomach": 7,
    "aorta": 8,
    "inferior_vena_cava": 9,
    "pancreas": 10,
    "right_adrenal": 11,
    "left_adrenal": 12,
    "duodenum": 13,
    "bladder": 14,
    "prostate_or_uterus": 15,
}
CHAOS_IDS = {"liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4}
# Grey values of CHAOS's PNG files, lowest and highest, as its organisers read them.
CHAOS_MR_GREYS = {1: (55, 70), 2: (110, 135), 3: (175, 200), 4: (240, 255)}
CHAOS_CT_GREYS = {1: (255, 255)}
# Of version 1, the organs that the abdomen's jobs and phantoms know; version 2 numbers anew from 7.
TOTALSEGMENTATOR_IDS = {"spleen": 1, "right_kidney": 2, "left_kidney": 3, "gallbladder": 4, "liver": 5, "pancreas": 10}

_CHAMBERS = {"left_ventricle": 1, "right_ventricle": 2, "left_atrium": 3, "right_atrium": 4}
CHD68_IDS = {**_CHAMBERS, "myocardium": 5, "aorta": 6, "pulmonary_artery": 7}
# The values of MM-WHS's label files, most of them above 255; 421 is the archive's own slip for 420.
MMWHS_VALUES = {
    205: "myocardium",
    420: "left_atrium",
    421: "left_atrium",
    500: "left_ventricle",
    550: "right_atrium",
    600: "right_ventricle",
    820: "aorta",
    850: "pulmonary_artery",
}
MMWHS_IDS = CHD68_IDS
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
# The mask files of TotalSegmentator CT (versions 1 and 2) and MRI that are organs or large vessels. Its numbers changed
# between versions and mask files have none, so the merged label counts this list from 1: it grows at its end only.
TOTALSEGMENTATOR_MASKS = {
    "spleen": "spleen",
    "kidney_right": "right_kidney",
    "kidney_left": "left_kidney",
    "gallbladder": "gallbladder",
    "liver": "liver",
    "stomach": "stomach",
    "pancreas": "pancreas",
    "adrenal_gland_right": "right_adrenal",
    "adrenal_gland_left": "left_adrenal",
    "esophagus": "oesophagus",
    "small_bowel": "small_bowel",
    "duodenum": "duodenum",
    "colon": "colon",
    "urinary_bladder": "bladder",
    "prostate": "prostate",
    "aorta": "aorta",
    "inferior_vena_cava": "inferior_vena_cava",
    "superior_vena_cava": "superior_vena_cava",
    "portal_vein_and_splenic_vein": "portal_and_splenic_vein",
    "pulmonary_artery": "pulmonary_artery",
    "pulmonary_vein": "pulmonary_vein",
    "heart": "heart",
    "heart_myocardium": "myocardium",
    "heart_atrium_left": "left_atrium",
    "heart_ventricle_left": "left_ventricle",
    "heart_atrium_right": "right_atrium",
    "heart_ventricle_right": "right_ventricle",
    "lung_left": "left_lung",
    "lung_right": "right_lung",
    "lung_upper_lobe_left": "left_lung_upper_lobe",
    "lung_lower_lobe_left": "left_lung_lower_lobe",
    "lung_upper_lobe_right": "right_lung_upper_lobe",
    "lung_middle_lobe_right": "right_lung_middle_lobe",
    "lung_lower_lobe_right": "right_lung_lower_lobe",
    "trachea": "trachea",
    "thyroid_gland": "thyroid",
    "brain": "brain",
    "spinal_cord": "spinal_cord",
}
TOTALSEGMENTATOR_MERGED_IDS = {organ: number for number, organ in enumerate(TOTALSEGMENTATOR_MASKS.values(), start=1)}
