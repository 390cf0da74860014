// One file that holds two plugins: those of GramoGain.so and GramoMono.so, which lie beside it.
#include <dlfcn.h>

#include <string>

#include "src/travesty/factory.h"

namespace
{

using Factory = v3_plugin_factory_cpp;

Factory** parts[2];

v3_result V3_API query(void* self, const v3_tuid iid, void** found)
{
    if (v3_tuid_match(iid, v3_funknown_iid) || v3_tuid_match(iid, v3_plugin_factory_iid)
        || v3_tuid_match(iid, v3_plugin_factory_2_iid) || v3_tuid_match(iid, v3_plugin_factory_3_iid))
    {
        *found = self;
        return V3_OK;
    }
    *found = nullptr;
    return V3_NO_INTERFACE;
}

uint32_t V3_API counted(void*) { return 1; }

int32_t classes(int part) { return (*parts[part])->v1.num_classes(parts[part]); }

int32_t V3_API count(void*) { return classes(0) + classes(1); }

// The part that has class `index` of all, which becomes its index there.
Factory** of(int32_t& index)
{
    if (index < classes(0))
        return parts[0];
    index -= classes(0);
    return parts[1];
}

v3_result V3_API about(void*, v3_factory_info* info) { return (*parts[0])->v1.get_factory_info(parts[0], info); }

v3_result V3_API info_1(void*, int32_t index, v3_class_info* info)
{
    Factory** const part = of(index);
    return (*part)->v1.get_class_info(part, index, info);
}

v3_result V3_API info_2(void*, int32_t index, v3_class_info_2* info)
{
    Factory** const part = of(index);
    return (*part)->v2.get_class_info_2(part, index, info);
}

v3_result V3_API info_3(void*, int32_t index, v3_class_info_3* info)
{
    Factory** const part = of(index);
    return (*part)->v3.get_class_info_utf16(part, index, info);
}

v3_result V3_API create(void*, const v3_tuid class_id, const v3_tuid iid, void** instance)
{
    for (Factory** const part : parts)
        if ((*part)->v1.create_instance(part, class_id, iid, instance) == V3_OK)
            return V3_OK;
    return V3_NO_INTERFACE;
}

v3_result V3_API host(void*, v3_funknown** context)
{
    for (Factory** const part : parts)
        (*part)->v3.set_host_context(part, context);
    return V3_OK;
}

Factory table;
Factory* object = &table;

} // namespace

extern "C"
{

__attribute__((visibility("default"))) bool ModuleEntry(void*)
{
    Dl_info self;
    dladdr(reinterpret_cast<void*>(&count), &self);
    const std::string path(self.dli_fname);
    const std::string folder = path.substr(0, path.rfind('/') + 1);
    const char* const names[] = {"GramoGain.so", "GramoMono.so"};
    for (int i = 0; i < 2; ++i)
    {
        void* const file = dlopen((folder + names[i]).c_str(), RTLD_NOW | RTLD_LOCAL);
        if (file == nullptr)
            return false;
        reinterpret_cast<bool (*)(void*)>(dlsym(file, "ModuleEntry"))(file);
        parts[i] = static_cast<Factory**>(reinterpret_cast<void* (*)()>(dlsym(file, "GetPluginFactory"))());
    }
    table.query_interface = query;
    table.ref = table.unref = counted;
    table.v1.get_factory_info = about;
    table.v1.num_classes = count;
    table.v1.get_class_info = info_1;
    table.v1.create_instance = create;
    table.v2.get_class_info_2 = info_2;
    table.v3.get_class_info_utf16 = info_3;
    table.v3.set_host_context = host;
    return true;
}

__attribute__((visibility("default"))) bool ModuleExit() { return true; }

__attribute__((visibility("default"))) void* GetPluginFactory() { return &object; }

}
